#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "blip2/search/code_layout_internal.h"
#include "blip2/search/scan.h"

namespace blip2 {

// A term as the scan of parts with one basis needs it: its vectors rotated, multiplied by the steps
// and rounded to whole numbers k, so that a cosine is `scale` times a whole number.
class ScanQuery {
 public:
  // Error if the term's vectors have another shape.
  ScanQuery(const SearchTerm& term, const Basis& basis);

  // The term's score of a picture, by its body.
  float score(const std::byte* body) const;
  // Not less than weight * score() of a picture with this head.
  float bound(const std::byte* head) const;
  float weight() const { return weight_; }

 private:
  void add_vector(std::span<const float> vector, const Basis& basis, std::vector<double>& exact);
  void prepare_bounds(const Basis& basis);

  CodeLayout layout_;
  bool is_picture_;
  float weight_;
  double scale_ = 1;
  std::vector<std::int16_t> whole_;  // k: [stride] of a text or [Q, stride] of a picture
  std::vector<float> head_;          // [kHeadNumbers, lanes]: scale * k
  std::vector<float> reach_;         // [lanes]: length of the rest of scale * k / step, signed
  float slack_ = 0;                  // what rounding can take from a bound
};

}  // namespace blip2
