#include "blip2/objectives/itm.h"

#include <algorithm>
#include <cmath>

#include "blip2/base/random.h"

namespace blip2 {
namespace {

// A column of each row drawn from the softmax over those that do not match; -1 if all match.
// LAVIS puts matching ones at -10000, whose share is exactly 0 as long as another column is there.
std::vector<std::int64_t> draw_columns(const at::Tensor& similarity, const at::Tensor& matches,
                                       std::uint64_t seed) {
  const at::Tensor values = similarity.detach().to(at::kFloat).contiguous();
  const at::Tensor masks = matches.contiguous();
  std::vector<std::int64_t> drawn(values.size(0), -1);
  const std::int64_t columns = values.size(1);
  for (std::int64_t row = 0; row < values.size(0); ++row) {
    const float* value = values.const_data_ptr<float>() + row * columns;
    const bool* match = masks.const_data_ptr<bool>() + row * columns;
    double largest = -INFINITY, total = 0;
    for (std::int64_t j = 0; j < columns; ++j) {
      if (!match[j]) largest = std::max<double>(largest, value[j]);
    }
    for (std::int64_t j = 0; j < columns; ++j) total += match[j] ? 0 : std::exp(value[j] - largest);
    double left = Random(derive_seed(seed, row)).uniform() * total;
    for (std::int64_t j = 0; j < columns; ++j) {
      if (match[j]) continue;
      drawn[row] = j;  // the last one if rounding leaves a rest
      left -= std::exp(value[j] - largest);
      if (left < 0) break;
    }
  }
  return drawn;
}

}  // namespace

bool Negatives::any() const {
  const auto some = [](const std::vector<std::int64_t>& drawn) {
    return std::ranges::any_of(drawn, [](std::int64_t place) { return place >= 0; });
  };
  return some(images) || some(texts);
}

Negatives draw_negatives(const at::Tensor& similarity, const at::Tensor& matches,
                         std::uint64_t seed) {
  return {.images = draw_columns(similarity.t(), matches.t(), derive_seed(seed, 1)),
          .texts = draw_columns(similarity, matches, derive_seed(seed, 2))};
}

Triplets make_triplets(const Negatives& negatives) {
  return make_triplets(negatives, 0, static_cast<std::int64_t>(negatives.texts.size()));
}

Triplets make_triplets(const Negatives& negatives, std::int64_t first, std::int64_t count) {
  Triplets triplets;
  std::vector<std::int64_t> labels;
  const auto add = [&](std::int64_t image, std::int64_t text, std::int64_t label) {
    if (image < first || image >= first + count || text < 0) return;
    triplets.pairs.images.push_back(image - first);
    triplets.pairs.texts.push_back(text);
    labels.push_back(label);
  };
  const auto all = static_cast<std::int64_t>(negatives.texts.size());
  for (std::int64_t i = 0; i < all; ++i) add(i, i, 1);
  for (std::int64_t i = 0; i < all; ++i) add(negatives.images[i], i, 0);
  for (std::int64_t i = 0; i < all; ++i) add(i, negatives.texts[i], 0);
  triplets.labels = at::tensor(labels, at::kLong);
  return triplets;
}

MatchingLoss matching_loss(const at::Tensor& logits, const at::Tensor& labels, bool others_differ) {
  const double accuracy =
      (logits.detach().argmax(1) == labels).to(at::kFloat).mean().item<double>();
  const at::Tensor loss = at::cross_entropy_loss(logits, labels);
  const bool only_matches = !others_differ && labels.min().item<std::int64_t>() == 1;
  return {only_matches ? loss * 0 : loss, logits, accuracy};
}

}  // namespace blip2
