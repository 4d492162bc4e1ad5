#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

namespace blip2 {

// A ragged batch: texts one after the other without padding, so that nothing is computed for pads.
struct TextRows {
  at::Tensor ids;                     // [N] int64
  std::vector<std::int64_t> lengths;  // of each text; their sum is N

  std::int64_t texts() const { return static_cast<std::int64_t>(lengths.size()); }
  // Where each text begins, and N: texts() + 1 numbers.
  std::vector<std::int64_t> offsets() const;
};

// Texts of token ids, in their order.
TextRows ragged_text(std::span<const std::vector<std::int32_t>> texts);
// Padded texts [B,T] int64 without their padding. Error if a length is not in 1..T.
TextRows pack_text(const at::Tensor& ids, at::IntArrayRef lengths);
// The texts of both, first `a`'s.
TextRows join_text(const TextRows& a, const TextRows& b);
// Packed [N,...] as padded [B,T,...], T the longest length, zeros behind each text.
at::Tensor pad_rows(const at::Tensor& packed, const std::vector<std::int64_t>& lengths);

}  // namespace blip2
