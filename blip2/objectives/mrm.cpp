#include "blip2/objectives/mrm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "blip2/base/error.h"
#include "blip2/base/random.h"

namespace blip2 {
namespace {

using Ids = std::vector<std::int64_t>;

std::int64_t query_of(std::int64_t position, std::int64_t positions, std::int64_t queries) {
  return position * queries / positions;
}

// `count` of the positions: the queries in random order give up one of theirs in turn.
Ids draw_hidden(std::int64_t positions, std::int64_t queries, std::int64_t count, Random& random) {
  std::vector<Ids> stretches(static_cast<std::size_t>(queries));
  for (std::int64_t p = 0; p < positions; ++p) {
    stretches[static_cast<std::size_t>(query_of(p, positions, queries))].push_back(p);
  }
  for (Ids& stretch : stretches) random.shuffle(stretch);
  random.shuffle(stretches);
  Ids hidden;
  for (std::size_t turn = 0; std::ssize(hidden) < count; ++turn) {
    for (const Ids& stretch : stretches) {
      if (turn < stretch.size() && std::ssize(hidden) < count) hidden.push_back(stretch[turn]);
    }
  }
  std::sort(hidden.begin(), hidden.end());
  return hidden;
}

at::Tensor unit(const at::Tensor& x) {
  return torch::nn::functional::normalize(x.to(at::kFloat),
                                          torch::nn::functional::NormalizeFuncOptions().dim(-1));
}

// The values [B,P,D] of the last layer that reads the picture.
at::Tensor last_values(const ImageKeysValues& images) {
  const auto last = std::find_if(images.layers.rbegin(), images.layers.rend(),
                                 [](const at::Tensor& layer) { return layer.defined(); });
  TORCH_CHECK(last != images.layers.rend(), "no layer reads the picture");
  return last->view({images.images, images.positions, 2, -1}).select(2, 1);
}

}  // namespace

HiddenRegions hide_regions(std::int64_t pictures, std::int64_t positions, std::int64_t queries,
                           double share, std::uint64_t seed, std::int64_t first_picture) {
  if (positions < 2 || queries < 1 || !(share > 0 && share < 1)) {
    throw Error(fmt::format("expected at least two positions, a query and a share in (0, 1), got "
                            "{}, {} and {}",
                            positions, queries, share),
                "masked region modelling");
  }
  const auto wanted = std::lround(share * static_cast<double>(positions));
  const auto count = std::clamp<std::int64_t>(wanted, 1, positions - 1);
  Ids hidden, answering, visible;
  for (std::int64_t i = 0; i < pictures; ++i) {
    Random random(derive_seed(seed, first_picture + i));
    const Ids drawn = draw_hidden(positions, queries, count, random);
    hidden.insert(hidden.end(), drawn.begin(), drawn.end());
    for (const std::int64_t p : drawn) answering.push_back(query_of(p, positions, queries));
    for (std::int64_t p = 0; p < positions; ++p) {
      if (!std::binary_search(drawn.begin(), drawn.end(), p)) visible.push_back(i * positions + p);
    }
  }
  return {at::tensor(hidden, at::kLong).view({pictures, count}),
          at::tensor(answering, at::kLong).view({pictures, count}), at::tensor(visible, at::kLong)};
}

ImageKeysValues visible_part(const ImageKeysValues& images, const HiddenRegions& regions) {
  ImageKeysValues part{{}, images.images, images.positions - regions.hidden.size(1)};
  for (const at::Tensor& layer : images.layers) {
    part.layers.push_back(layer.defined() ? layer.index_select(0, regions.visible) : layer);
  }
  return part;
}

TokenLoss region_loss(const at::Tensor& queries, const ImageKeysValues& images,
                      const HiddenRegions& regions) {
  const at::Tensor index = regions.queries.unsqueeze(2).expand({-1, -1, queries.size(2)});
  const at::Tensor answers = unit(queries.gather(1, index));                      // [B,H,D]
  const at::Tensor features = unit(last_values(images));                          // [B,P,D]
  const at::Tensor cosines = at::bmm(answers, features.transpose(1, 2));          // [B,H,P]
  const at::Tensor logits = cosines.flatten(0, 1) / kRegionTemperature;           // [B*H,P]
  const at::Tensor targets = regions.hidden.flatten();                            // [B*H]
  const at::Tensor hits = (logits.detach().argmax(1) == targets).to(at::kFloat);  // [B*H]
  return {at::cross_entropy_loss(logits, targets), targets.numel(), hits.mean().item<double>()};
}

}  // namespace blip2
