#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace blip2 {

// A frozen language model's last hidden states of some texts, in packed rows without padding. A
// text may have none.
struct LanguageStates {
  at::Tensor rows;                    // [N, Dl], any floating-point type
  std::vector<std::int64_t> lengths;  // the number of each text's states; their sum is N
};

// Keys and values of such states for each cross-attention layer, [N, 2D] in compute type, which a
// pass reads beside those of pictures, in one softmax.
struct LanguageKeysValues {
  std::vector<at::Tensor> layers;
  std::vector<std::int64_t> lengths;
};

}  // namespace blip2
