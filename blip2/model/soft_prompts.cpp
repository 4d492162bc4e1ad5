#include "blip2/model/soft_prompts.h"

#include <numeric>

namespace blip2 {

at::Tensor soft_prompts(const Bridge& bridge, const QFormerPass& pass,
                        const ImageKeysValues& images, const Instructions& instructions) {
  std::optional<LanguageKeysValues> language;
  if (instructions.language) {
    language = pass.project_language(*instructions.language, *bridge.language_norm());
  }
  const LanguageKeysValues* const states = language ? &*language : nullptr;
  if (!instructions.text) {
    return bridge.soft_prompts(pass.encode_queries(bridge.query_tokens, images, states).hidden);
  }
  Pairs pairs;
  pairs.images.resize(static_cast<std::size_t>(images.images()));
  std::iota(pairs.images.begin(), pairs.images.end(), 0);
  pairs.texts = pairs.images;
  const auto joint = pass.encode_multimodal(bridge.query_tokens, images, *instructions.text, pairs,
                                            /*with_text=*/false, states);
  return bridge.soft_prompts(joint.queries);
}

at::Tensor soft_prompts(const Bridge& bridge, const ImageFeatures& features,
                        const Instructions& instructions, const ComputeOptions& compute) {
  const QFormerPass pass = bridge.qformer->pass(compute);
  return soft_prompts(bridge, pass, pass.project_image(features, bridge.feature_norm()),
                      instructions);
}

}  // namespace blip2
