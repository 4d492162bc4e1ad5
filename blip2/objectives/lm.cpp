#include "blip2/objectives/lm.h"

#include <fmt/format.h>

#include "blip2/base/error.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {

LanguageTargets language_targets(const at::Tensor& labels) {
  if (labels.dim() != 2 || labels.scalar_type() != at::kLong || labels.size(1) < 1) {
    throw Error("expected int64 labels [B, T], got " + shape_text(labels.sizes()),
                "language-model loss");
  }
  const std::int64_t rows = labels.size(0), length = labels.size(1);
  const at::Tensor contiguous = labels.contiguous();
  const auto* label = contiguous.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> places, targets;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t t = 0; t + 1 < length; ++t) {
      const std::int64_t next = label[row * length + t + 1];
      if (next == kIgnoredLabel) continue;
      places.push_back(row * length + t);
      targets.push_back(next);
    }
  }
  return {at::tensor(places, at::kLong), at::tensor(targets, at::kLong)};
}

TokenLoss language_loss(const at::Tensor& hidden, const at::Tensor& head,
                        const LanguageTargets& targets, double label_smoothing) {
  const at::Tensor rows = hidden.flatten(0, -2).index_select(0, targets.places);  // [N,D]
  return vocabulary_loss(rows, {}, head, {}, targets.targets, label_smoothing);
}

TokenLoss language_loss(const at::Tensor& logits, const at::Tensor& targets,
                        double label_smoothing) {
  if (logits.dim() != 2 || targets.dim() != 1 || logits.size(0) != targets.size(0)) {
    throw Error(fmt::format("expected logits [N, V] and targets [N], got {} and {}",
                            shape_text(logits.sizes()), shape_text(targets.sizes())),
                "language-model loss");
  }
  const at::Tensor counted = (targets != kIgnoredLabel).nonzero().squeeze(1);
  if (counted.numel() == 0) return {logits.sum() * 0, 0, 0};
  const at::Tensor loss = at::cross_entropy_loss(
      logits.to(at::kFloat), targets, {}, at::Reduction::Mean, kIgnoredLabel, label_smoothing);
  const at::Tensor hits = logits.detach().argmax(1) == targets;
  return {loss, counted.numel(), hits.sum().item<double>() / static_cast<double>(counted.numel())};
}

}  // namespace blip2
