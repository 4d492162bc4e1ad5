#include "blip2/objectives/words.h"

#include <algorithm>

namespace blip2 {

WordTargets::WordTargets(std::span<const std::int64_t> ids, const at::Tensor& embeddings,
                         double sharpness) {
  TORCH_CHECK(!ids.empty() && embeddings.dim() == 2 && embeddings.size(0) == std::ssize(ids),
              "expected embeddings [", ids.size(), ", width], got ", embeddings.sizes());
  place_of_.assign(static_cast<std::size_t>(*std::max_element(ids.begin(), ids.end())) + 1, -1);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    place_of_[static_cast<std::size_t>(ids[i])] = static_cast<std::int64_t>(i);
  }
  table_ = sharpness * torch::nn::functional::normalize(embeddings);
}

at::Tensor WordTargets::places(const std::vector<std::vector<std::int64_t>>& texts,
                               std::int64_t queries) const {
  at::Tensor places = at::full({std::ssize(texts), queries}, kIgnoredLabel, at::kLong);
  auto place = places.accessor<std::int64_t, 2>();
  for (std::int64_t i = 0; i < places.size(0); ++i) {
    const auto& text = texts[static_cast<std::size_t>(i)];
    for (std::int64_t q = 0; q < std::min(queries, std::ssize(text)); ++q) {
      const auto token = static_cast<std::size_t>(text[static_cast<std::size_t>(q)]);
      if (token < place_of_.size() && place_of_[token] >= 0) place[i][q] = place_of_[token];
    }
  }
  return places;
}

TokenLoss WordTargets::loss(const at::Tensor& soft, const at::Tensor& places,
                            double label_smoothing) const {
  const at::Tensor directions = torch::nn::functional::normalize(soft.flatten(0, 1));
  return vocabulary_loss(directions, {}, table_, {}, places.flatten(), label_smoothing);
}

}  // namespace blip2
