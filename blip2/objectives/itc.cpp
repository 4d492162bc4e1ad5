#include "blip2/objectives/itc.h"

#include <fmt/format.h>

#include "blip2/base/error.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

// Mean smoothed cross-entropy of the rows of [B,B] logits.
at::Tensor one_way(const at::Tensor& logits, const at::Tensor& matches, double smoothing) {
  const at::Tensor mass = matches.to(at::kFloat);
  const at::Tensor target =
      mass / mass.sum(1, true) * (1 - smoothing) + smoothing / static_cast<double>(logits.size(1));
  return -(target * at::log_softmax(logits, 1)).sum(1).mean();
}

at::Tensor hits(const at::Tensor& similarity, const at::Tensor& matches) {
  return matches.gather(1, similarity.argmax(1, true)).to(at::kFloat).mean();
}

}  // namespace

at::Tensor matching_pairs(const at::Tensor& image_ids, const at::Tensor& caption_ids) {
  return (image_ids.unsqueeze(1) == image_ids.unsqueeze(0))
      .logical_or(caption_ids.unsqueeze(1) == caption_ids.unsqueeze(0));
}

ContrastLoss contrast_loss(const at::Tensor& cosine, const at::Tensor& temperature,
                           const at::Tensor& matches, const ContrastOptions& options) {
  if (cosine.dim() != 2 || cosine.size(0) != cosine.size(1) || cosine.sizes() != matches.sizes()) {
    throw Error(fmt::format("expected cosines [B, B] and matches of that shape, got {} and {}",
                            shape_text(cosine.sizes()), shape_text(matches.sizes())),
                "image-text contrast");
  }
  const at::Tensor divisor =
      options.clamp_temperature ? temperature.clamp(0.001, 0.5) : temperature;
  const at::Tensor similarity = cosine / divisor;
  const at::Tensor loss = (one_way(similarity, matches, options.label_smoothing) +
                           one_way(similarity.t(), matches.t(), options.label_smoothing)) /
                          2;
  const at::NoGradGuard no_grad;
  const at::Tensor accuracy = (hits(similarity, matches) + hits(similarity.t(), matches.t())) / 2;
  return {loss, similarity, accuracy.item<double>()};
}

}  // namespace blip2
