#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "blip2/nn/ignored_label.h"
#include "blip2/qformer/text_rows.h"

namespace blip2 {

// What text generation reads and predicts: [DEC] in the first token's place and without the last
// token, which predicts nothing. `targets` [N] are the next tokens; a text of one token has none.
struct GenerationText {
  TextRows inputs;                    // only texts of two tokens and more
  at::Tensor targets;                 // [N] int64
  std::vector<std::int64_t> sources;  // each input's text
};
GenerationText generation_text(const TextRows& text, std::int64_t decoder_token);

struct TokenLoss {
  at::Tensor loss;       // [], the mean over the targets; 0 if there are none
  std::int64_t targets;  // how many count
  double accuracy;       // share of targets with the largest logit
};

// Rows whose logits over the vocabulary vocabulary_loss holds at a time.
inline constexpr std::int64_t kVocabularyRows = 1024;

// Mean cross-entropy of hidden @ words^T + bias against targets, without keeping logits: hidden
// [N,D] and compute_words [V,D] of one type, words the f32 parameter that gets the gradient, bias
// [V] f32 or undefined, targets [N] int64, kIgnoredLabel ones ignored. Throws Error for targets
// outside the vocabulary.
TokenLoss vocabulary_loss(const at::Tensor& hidden, const at::Tensor& words,
                          const at::Tensor& compute_words, const at::Tensor& bias,
                          const at::Tensor& targets, double label_smoothing);

}  // namespace blip2
