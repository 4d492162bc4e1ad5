#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "blip2/language/language_input.h"
#include "blip2/model/bridge.h"

namespace blip2 {

// The texts that the Q-Former reads with B pictures.
struct Instructions {
  std::optional<TextRows> text;            // B texts in its own tokens
  std::optional<LanguageStates> language;  // the language model's states of B texts
};

// The soft prompts of B pictures, given by their keys and values (project_image): [B, Q, width]
// f32. `pass` is a pass of the bridge's Q-Former.
at::Tensor soft_prompts(const Bridge& bridge, const QFormerPass& pass,
                        const ImageKeysValues& images, const Instructions& instructions);

// The soft prompts of pictures given by their features; makes the pass itself.
at::Tensor soft_prompts(const Bridge& bridge, const ImageFeatures& features,
                        const Instructions& instructions, const ComputeOptions& compute);

// Joins soft prompts and token embeddings by join_input, for a language model of any kind.
template <typename Language>
LanguageInput language_input(const Language& language, const at::Tensor& soft,
                             const std::vector<std::vector<std::int64_t>>& text) {
  return join_input([&](const at::Tensor& ids) { return language.embed(ids); }, soft, text);
}

}  // namespace blip2
