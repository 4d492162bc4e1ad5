#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "blip2/search/scan.h"
#include "blip2/search/scan_query_internal.h"

namespace blip2 {

// For `count` (at most 64) pictures by their heads: what the sum over terms of weight times score,
// as PartScan::score() computes it, does not pass.
void bounds_of_heads(std::span<const ScanQuery> queries, const std::byte* heads, std::size_t count,
                     float* out);

// A part of an index with what is looked for. Rows are numbers of pictures within the part. Const
// functions may run on several threads at once.
class PartScan {
 public:
  static constexpr float kNever = -std::numeric_limits<float>::infinity();  // below every score

  // Error if the part's spans do not fit each other, or as ScanQuery.
  PartScan(const CodePart& part, std::span<const SearchTerm> terms);

  std::size_t pictures() const { return pictures_; }
  bool wanted(std::size_t row) const { return (part_.wanted[row / 64] >> row % 64 & 1) != 0; }

  // A picture's score, by its body.
  float score(std::size_t row) const;
  // score() if it is at least `least`, otherwise anything below `least`.
  float score_from(float least, std::size_t row) const;
  std::vector<float> term_scores(std::size_t row) const;
  // For the wanted pictures of rows [first, last): what score() does not pass; kNever for the
  // others. `first` is a multiple of 64.
  void bounds(std::size_t first, std::size_t last, float* out) const;

 private:
  const std::byte* body(std::size_t row) const { return part_.bodies.data() + row * layout_.body; }
  const std::byte* head(std::size_t row) const { return part_.heads.data() + row * layout_.head; }

  CodePart part_;
  CodeLayout layout_;
  std::size_t pictures_;
  std::vector<ScanQuery> queries_;
};

}  // namespace blip2
