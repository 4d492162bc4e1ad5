#include "blip2/objectives/mrm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

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

// The values [sum of P_i, D] of the last layer that reads the picture.
at::Tensor last_values(const ImageKeysValues& images) {
  const auto last = std::find_if(images.layers.rbegin(), images.layers.rend(),
                                 [](const at::Tensor& layer) { return layer.defined(); });
  TORCH_CHECK(last != images.layers.rend(), "no layer reads the picture");
  return last->chunk(2, 1)[1];
}

// Rows of pictures with P_i positions as [B, P, D], P the largest; what is filled up is zero.
at::Tensor filled_up(const at::Tensor& rows, const std::vector<std::int64_t>& positions) {
  const std::int64_t pictures = std::ssize(positions), most = std::ranges::max(positions);
  if (pictures * most == rows.size(0)) return rows.reshape({pictures, most, -1});
  return at::pad_sequence(rows.split_with_sizes(positions), /*batch_first=*/true);
}

// 0 for the positions [B, 1, P] that a picture has, -inf for what is filled up; undefined if
// nothing is.
at::Tensor absent(const std::vector<std::int64_t>& positions) {
  const std::int64_t most = std::ranges::max(positions);
  if (std::ranges::min(positions) == most) return {};
  const at::Tensor missing = at::arange(most) >= at::tensor(positions, at::kLong).unsqueeze(1);
  return at::zeros(missing.sizes()).masked_fill(missing, -INFINITY).unsqueeze(1);
}

// Lists [B, H] of different lengths, filled up.
at::Tensor table_of(const std::vector<Ids>& lists, std::int64_t filling) {
  std::size_t most = 0;
  for (const Ids& list : lists) most = std::max(most, list.size());
  Ids all;
  for (const Ids& list : lists) {
    all.insert(all.end(), list.begin(), list.end());
    all.insert(all.end(), most - list.size(), filling);
  }
  return at::tensor(all, at::kLong).view({std::ssize(lists), static_cast<std::int64_t>(most)});
}

}  // namespace

HiddenRegions hide_regions(const std::vector<std::int64_t>& positions, std::int64_t queries,
                           double share, std::uint64_t seed, std::int64_t first_picture) {
  std::vector<Ids> hidden, answering;
  Ids visible, counts;
  std::int64_t first = 0;
  for (const std::int64_t of_picture : positions) {
    if (of_picture < 2 || queries < 1 || !(share > 0 && share < 1)) {
      throw Error(fmt::format("expected at least two positions, a query and a share in (0, 1), got "
                              "{}, {} and {}",
                              of_picture, queries, share),
                  "masked region modelling");
    }
    const auto wanted = std::lround(share * static_cast<double>(of_picture));
    const auto count = std::clamp<std::int64_t>(wanted, 1, of_picture - 1);
    Random random(derive_seed(seed, first_picture + std::ssize(hidden)));
    hidden.push_back(draw_hidden(of_picture, queries, count, random));
    answering.emplace_back();
    for (const std::int64_t p : hidden.back()) {
      answering.back().push_back(query_of(p, of_picture, queries));
    }
    for (std::int64_t p = 0; p < of_picture; ++p) {
      if (!std::ranges::binary_search(hidden.back(), p)) visible.push_back(first + p);
    }
    counts.push_back(of_picture - count);
    first += of_picture;
  }
  return {table_of(hidden, kNotHidden), table_of(answering, 0), at::tensor(visible, at::kLong),
          std::move(counts)};
}

ImageKeysValues visible_part(const ImageKeysValues& images, const HiddenRegions& regions) {
  ImageKeysValues part{{}, regions.counts};
  for (const at::Tensor& layer : images.layers) {
    part.layers.push_back(layer.defined() ? layer.index_select(0, regions.visible) : layer);
  }
  return part;
}

TokenLoss region_loss(const at::Tensor& queries, const ImageKeysValues& images,
                      const HiddenRegions& regions) {
  const at::Tensor index = regions.queries.unsqueeze(2).expand({-1, -1, queries.size(2)});
  const at::Tensor answers = unit(queries.gather(1, index));                           // [B,H,D]
  const at::Tensor features = unit(filled_up(last_values(images), images.positions));  // [B,P,D]
  at::Tensor cosines = at::bmm(answers, features.transpose(1, 2));                     // [B,H,P]
  if (const at::Tensor gone = absent(images.positions); gone.defined()) cosines = cosines + gone;
  const at::Tensor logits = cosines.flatten(0, 1) / kRegionTemperature;  // [B*H,P]
  const at::Tensor targets = regions.hidden.flatten();                   // [B*H]
  const auto hits = (logits.detach().argmax(1) == targets).sum().item<double>();
  const std::int64_t count = regions.targets();
  return {at::cross_entropy_loss(logits, targets, {}, at::Reduction::Mean, kNotHidden), count,
          hits / static_cast<double>(count)};
}

}  // namespace blip2
