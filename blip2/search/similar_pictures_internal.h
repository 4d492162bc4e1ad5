#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "blip2/search/picture_index.h"

namespace blip2 {

// Finds the pictures of an index that are like one of them. All of them are compared by sketches,
// the first numbers of their rotated mean vectors: two sketches' squared distance is at most that
// of the means, which is at most the mean squared distance of the vectors, 2 - 2 * mean cosine of
// unit vectors. Only those whose sketches are near enough are compared in full. Const functions may
// run on several threads at once.
class SimilarPictures {
 public:
  // `pictures`: numbers of pictures of the index, which has to live as long as this object.
  SimilarPictures(const PictureIndex& index, std::vector<std::int64_t> pictures,
                  std::size_t threads);

  // The places in the list of those pictures, in order, whose score with the picture at `place` is
  // at least `threshold` and for which may(place) is true; without itself. The score is that of
  // best_pictures(): the mean cosine of vectors of the same learned query. `may` is asked only for
  // those whose sketches are near enough.
  std::vector<std::size_t> like(std::size_t place, float threshold,
                                const std::function<bool(std::size_t)>& may) const;

 private:
  static constexpr std::size_t kNumbers = 32, kLanes = 16;
  using Sketch = std::array<float, kNumbers>;
  using Lanes = std::array<float, kLanes>;
  using Block = std::array<Lanes, kNumbers>;  // sketches side by side, number by number
  struct Row {
    std::size_t part = 0, row = 0;
  };

  static Sketch sketch_of(const Basis& basis, const std::vector<float>& vectors);
  static void add_distances(const Sketch& own, const Block& block, std::size_t begin,
                            std::size_t end, Lanes& sums);
  void find_rows();
  void fill_blocks();
  std::vector<std::size_t> near_sketches(const Sketch& own, float reach) const;
  std::vector<float> scores_of(std::size_t part, const std::vector<std::size_t>& places,
                               const SearchTerm& term) const;

  const PictureIndex& index_;
  std::vector<std::int64_t> pictures_;
  std::vector<CodePart> parts_;
  std::vector<Row> rows_;
  std::vector<Sketch> sketches_;
  std::vector<float> squares_;  // each picture's mean squared length of its vectors
  float largest_square_ = 0;
  std::vector<std::size_t> order_;  // of the places, by the first numbers of their sketches
  std::vector<Block> blocks_;       // in that order
};

}  // namespace blip2
