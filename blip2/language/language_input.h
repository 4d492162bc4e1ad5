#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace blip2 {

// A language model's input as a ragged batch: each row's soft prompts, then its tokens.
struct LanguageInput {
  at::Tensor embeds;                  // [N, width] f32
  std::vector<std::int64_t> offsets;  // row i is [offsets[i], offsets[i + 1])
};

// Joins `soft` [B, Q, width] and the embeddings of `text`, B rows of token ids, which may be empty.
// `embed`: ids [M] -> [M, width].
LanguageInput join_input(const std::function<at::Tensor(const at::Tensor&)>& embed,
                         const at::Tensor& soft,
                         const std::vector<std::vector<std::int64_t>>& text);

}  // namespace blip2
