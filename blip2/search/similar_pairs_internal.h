#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "blip2/search/picture_index.h"

namespace blip2 {

// Two pictures of an index, by their places in a list, and the mean cosine of their vectors.
struct SimilarPair {
  std::size_t first = 0, second = 0;  // first < second
  float score = 0;
};

// All pairs among the pictures of an index whose score is at least `threshold`, in the order of
// first and second; `pictures` are their numbers. The scores are those of best_pictures(). Const.
std::vector<SimilarPair> similar_pairs(const PictureIndex& index,
                                       const std::vector<std::int64_t>& pictures, float threshold,
                                       std::size_t threads,
                                       const std::function<void(std::int64_t)>& progress);

}  // namespace blip2
