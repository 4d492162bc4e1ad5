#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "blip2/search/picture_index.h"

namespace blip2 {

enum class DuplicateKind {
  exact,  // files of one content
  near,   // one picture in other sizes, qualities or formats: same shape, same look, like vectors
  alike,  // pictures that show nearly the same
};
const char* name_of(DuplicateKind kind);

// Least means of the cosines of vectors of the same learned query. Measured in docs/search.md.
inline constexpr float kNearThreshold = 0.85f, kAlikeThreshold = 0.95f;

struct DuplicateOptions {
  bool exact = true;
  std::optional<float> near = kNearThreshold, alike = kAlikeThreshold;  // nullopt: not looked for
  std::size_t threads = 1;
  // Called now and then with the number of pictures compared, which are all of them for near and
  // all again for alike ones; may throw.
  std::function<void(std::int64_t)> progress = [](std::int64_t) {};
};

// Files of which one is enough.
struct DuplicateGroup {
  DuplicateKind kind = DuplicateKind::exact;
  // The best file first: that of the picture with the most pixels, of several the largest file,
  // then the oldest, then the first by name. The others follow in the same order.
  std::vector<std::string> paths;
};

// All groups: the exact ones, then the near ones, then the alike ones, each in the order of their
// best files' names. No file is in two groups of one kind. All pictures of a near group are near to
// its best one, not only to another of the group. An alike group is made of near groups (or single
// pictures) whose best ones are alike to its own best one. So whoever keeps the best file of each
// group and removes the others keeps something near (alike) to all that is removed.
//
// Every pair of pictures is compared by the first 32 numbers of their rotated mean vectors, whose
// distance bounds the mean cosine; only pairs that can reach the threshold are compared in full.
// docs/search.md has the times. That takes about 300 bytes of memory a picture.
std::vector<DuplicateGroup> find_duplicates(const PictureIndex& index,
                                            const DuplicateOptions& options = {});

}  // namespace blip2
