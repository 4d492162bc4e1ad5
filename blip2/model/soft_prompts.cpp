#include "blip2/model/soft_prompts.h"

#include <numeric>

namespace blip2 {

at::Tensor soft_prompts(const Bridge& bridge, const QFormerPass& pass,
                        const ImageKeysValues& images,
                        const std::optional<TextRows>& instructions) {
  if (!instructions) {
    return bridge.soft_prompts(pass.encode_queries(bridge.query_tokens, images).hidden);
  }
  Pairs pairs;
  pairs.images.resize(static_cast<std::size_t>(images.images()));
  std::iota(pairs.images.begin(), pairs.images.end(), 0);
  pairs.texts = pairs.images;
  const auto states = pass.encode_multimodal(bridge.query_tokens, images, *instructions, pairs);
  return bridge.soft_prompts(states.queries);
}

at::Tensor soft_prompts(const Bridge& bridge, const ImageFeatures& features,
                        const std::optional<TextRows>& instructions,
                        const ComputeOptions& compute) {
  const QFormerPass pass = bridge.qformer->pass(compute);
  return soft_prompts(bridge, pass, pass.project_image(features, bridge.feature_norm()),
                      instructions);
}

}  // namespace blip2
