#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

namespace blip2 {

// A ragged batch: texts in packed rows without padding, so that nothing is computed for padding.
struct TextRows {
  at::Tensor ids;                     // [N] int64
  std::vector<std::int64_t> lengths;  // the length of each text; their sum is N

  std::int64_t texts() const { return static_cast<std::int64_t>(lengths.size()); }
  // The row where each text begins, then N: texts() + 1 numbers.
  std::vector<std::int64_t> offsets() const;
};

// The ragged batch of these texts, in their order.
TextRows ragged_text(std::span<const std::vector<std::int32_t>> texts);
// The ragged batch of padded texts [B,T] int64. Error if a length is not in 1..T.
TextRows pack_text(const at::Tensor& ids, at::IntArrayRef lengths);
// The texts of `a`, then the texts of `b`.
TextRows join_text(const TextRows& a, const TextRows& b);
// Packed [N,...] as padded [B,T,...], T the longest length, zeros behind each text.
at::Tensor pad_rows(const at::Tensor& packed, const std::vector<std::int64_t>& lengths);

}  // namespace blip2
