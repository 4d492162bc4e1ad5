#include "blip2/objectives/all_gather_texts_internal.h"

#include <torch/torch.h>

#include <cstdint>

namespace blip2 {

TextRows all_gather_texts(const Ranks& ranks, const TextRows& text) {
  const at::Tensor lengths = ranks.all_gather(at::tensor(text.lengths, at::kLong));
  const at::Tensor padded = pad_rows(text.ids, text.lengths);  // [b, T], T of this process
  const at::Tensor wide =
      at::zeros({padded.size(0), lengths.max().item<std::int64_t>()}, at::kLong);
  wide.narrow(1, 0, padded.size(1)).copy_(padded);
  return pack_text(ranks.all_gather(wide), {lengths.const_data_ptr<std::int64_t>(),
                                            static_cast<std::size_t>(lengths.numel())});
}

}  // namespace blip2
