#pragma once

#include <torch/torch.h>

#include "blip2/objectives/itg.h"

namespace blip2 {

// Shifted labels of a decoder-only language model: hidden state t predicts labels[t + 1].
// Labels [B,T] int64 with kIgnoredLabel where there is no loss.
struct LanguageTargets {
  at::Tensor places;   // [N] int64: rows of hidden [B*T, D] that predict something
  at::Tensor targets;  // [N] int64
};
LanguageTargets language_targets(const at::Tensor& labels);

// Stage 2: mean cross-entropy over the targets through a frozen head. `hidden` [B,T,D] are the
// language model's last states, head [V,D] its matrix in the same type (no gradient).
// The gradient flows to `hidden` alone.
TokenLoss language_loss(const at::Tensor& hidden, const at::Tensor& head,
                        const LanguageTargets& targets, double label_smoothing = 0);
// The same from logits [N,V] at the targets' places.
TokenLoss language_loss(const at::Tensor& logits, const at::Tensor& targets,
                        double label_smoothing = 0);

}  // namespace blip2
