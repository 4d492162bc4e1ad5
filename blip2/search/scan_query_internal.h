#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "blip2/search/code_layout_internal.h"
#include "blip2/search/scan.h"
#include "blip2/search/scan_kernels_internal.h"

namespace blip2 {

// A term as the scan of parts with one basis needs it. Its vectors are rotated, multiplied by the
// steps and rounded to whole numbers k of 16 bits, so that the term's score of a picture is unit()
// times a whole number, value(). Const functions may run on several threads at once.
class ScanQuery {
 public:
  // Error if the term's vectors have another shape or its numbers are not finite.
  ScanQuery(const SearchTerm& term, const Basis& basis);

  double unit() const { return unit_; }
  double weight() const { return weight_; }
  bool is_text() const { return !head_.sums; }

  // By a picture's body.
  std::int64_t value(const std::byte* body) const;
  // Of a text: value() if it is at least `least`, otherwise anything below `least`. Only those of
  // the vectors are read whose bound reaches `least`.
  std::int64_t value_from(std::int64_t least, const std::byte* head, const std::byte* body) const;
  // What value() lies between, for `count` pictures by their heads.
  void intervals(const std::byte* heads, std::size_t count, ScoreInterval* out) const {
    kernels_->intervals(heads, count, head_, out);
  }

 private:
  std::vector<double> times_steps(std::span<const float> rotated,
                                  std::span<const float> steps) const;
  void prepare_head(const Basis& basis);
  std::int32_t reach(const std::int16_t* k, std::span<const float> steps) const;

  CodeLayout layout_;
  const ScanKernels* kernels_;
  double weight_, unit_ = 1;
  std::vector<std::int16_t> whole_;  // k: [stride] of a text or [Q, stride] of a picture
  HeadQuery head_;
};

}  // namespace blip2
