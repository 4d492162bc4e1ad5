#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "blip2/language/language_model.h"
#include "blip2/model/bridge.h"

namespace blip2 {

// What the queries tell the language model of each of B pictures, as project_image has them:
// [B, Q, width] f32. `pass` computes with the bridge's Q-Former; with `instructions` (B texts) it
// reads them beside the picture.
at::Tensor soft_prompts(const Bridge& bridge, const QFormerPass& pass,
                        const ImageKeysValues& images, const std::optional<TextRows>& instructions);

// The language model's input without padding: each row's soft prompts, then its tokens.
struct LanguageInput {
  at::Tensor embeds;                  // [N, width] f32
  std::vector<std::int64_t> offsets;  // row i is [offsets[i], offsets[i + 1])
};

// soft [B, Q, width], text: B rows of token ids, which may be empty; `embed`: ids [M] -> [M,
// width].
LanguageInput join_input(const std::function<at::Tensor(const at::Tensor&)>& embed,
                         const at::Tensor& soft,
                         const std::vector<std::vector<std::int64_t>>& text);

// The same with the embeddings of a LanguageModel or a FrozenLanguage.
template <typename Language>
LanguageInput language_input(const Language& language, const at::Tensor& soft,
                             const std::vector<std::vector<std::int64_t>>& text) {
  return join_input([&](const at::Tensor& ids) { return language.embed(ids); }, soft, text);
}

}  // namespace blip2
