#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "blip2/language/teacher_forcing.h"
#include "blip2/model/bridge.h"

namespace blip2 {

// What the queries tell the language model of each of B pictures, as project_image has them:
// [B, Q, width] f32. `pass` computes with the bridge's Q-Former; with `instructions` (B texts) it
// reads them beside the picture.
at::Tensor soft_prompts(const Bridge& bridge, const QFormerPass& pass,
                        const ImageKeysValues& images, const std::optional<TextRows>& instructions);

// The same of pictures' features [B, P, De], in a pass of its own.
at::Tensor soft_prompts(const Bridge& bridge, const at::Tensor& features,
                        const std::optional<TextRows>& instructions, const ComputeOptions& compute);

// join_input with the embeddings of a language model of any kind.
template <typename Language>
LanguageInput language_input(const Language& language, const at::Tensor& soft,
                             const std::vector<std::vector<std::int64_t>>& text) {
  return join_input([&](const at::Tensor& ids) { return language.embed(ids); }, soft, text);
}

}  // namespace blip2
