#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "blip2/nn/ignored_label.h"
#include "blip2/qformer/text_rows.h"

namespace blip2 {

// The inputs and targets of image-grounded text generation with teacher forcing. Inputs have [DEC]
// in place of the first token and lack the last token, which predicts nothing. `targets` [N] are
// the next tokens; a text of one token has none.
struct GenerationText {
  TextRows inputs;                    // only texts of at least two tokens
  at::Tensor targets;                 // [N] int64
  std::vector<std::int64_t> sources;  // the index of each input's text
};
GenerationText generation_text(const TextRows& text, std::int64_t decoder_token);

struct TokenLoss {
  at::Tensor loss;       // [], the mean over the targets; 0 if there are none
  std::int64_t targets;  // number of targets that are not ignored
  double accuracy;       // share of targets that have the largest logit
};

// The number of rows whose logits vocabulary_loss holds at a time.
inline constexpr std::int64_t kVocabularyRows = 1024;

// Mean cross-entropy of hidden @ words^T + bias against targets, without keeping logits: hidden
// [N,D] and compute_words [V,D] of one type, words the f32 parameter that gets the gradient, bias
// [V] f32 or undefined, targets [N] int64, of which kIgnoredLabel is ignored. Throws Error for
// targets outside the vocabulary.
TokenLoss vocabulary_loss(const at::Tensor& hidden, const at::Tensor& words,
                          const at::Tensor& compute_words, const at::Tensor& bias,
                          const at::Tensor& targets, double label_smoothing);

}  // namespace blip2
