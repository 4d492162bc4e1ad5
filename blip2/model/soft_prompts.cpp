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
  pairs.images.resize(static_cast<std::size_t>(images.images));
  std::iota(pairs.images.begin(), pairs.images.end(), 0);
  pairs.texts = pairs.images;
  const auto states = pass.encode_multimodal(bridge.query_tokens, images, *instructions, pairs);
  return bridge.soft_prompts(states.queries);
}

}  // namespace blip2
