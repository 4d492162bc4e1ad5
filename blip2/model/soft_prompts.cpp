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

LanguageInput join_input(const std::function<at::Tensor(const at::Tensor&)>& embed,
                         const at::Tensor& soft,
                         const std::vector<std::vector<std::int64_t>>& text) {
  const std::int64_t rows = soft.size(0), queries = soft.size(1);
  std::vector<std::int64_t> ids, order, offsets{0};
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t q = 0; q < queries; ++q) order.push_back(i * queries + q);
    for (const std::int64_t id : text[static_cast<std::size_t>(i)]) {
      order.push_back(rows * queries + std::ssize(ids));
      ids.push_back(id);
    }
    offsets.push_back(std::ssize(order));
  }
  const at::Tensor words = embed(torch::tensor(ids, at::kLong));  // [M, width]
  const at::Tensor both = at::cat({soft.flatten(0, 1), words});   // [B*Q + M, width]
  return {both.index_select(0, torch::tensor(order, at::kLong)), std::move(offsets)};
}

}  // namespace blip2
