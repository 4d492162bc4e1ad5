#include "blip2/nn/image_features.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {

ImageFeatures::ImageFeatures(at::Tensor rows_, std::vector<std::int64_t> positions_)
    : rows(std::move(rows_)), positions(std::move(positions_)) {
  TORCH_CHECK(rows.dim() == 2 && rows.size(0) == std::accumulate(positions.begin(), positions.end(),
                                                                 std::int64_t{0}),
              "image features: expected a row for each position");
}

ImageFeatures::ImageFeatures(const at::Tensor& features) {
  if (features.dim() != 3) {
    throw Error(
        fmt::format("expected image features [B, P, D], got {}", shape_text(features.sizes())));
  }
  rows = features.flatten(0, 1);
  positions.assign(static_cast<std::size_t>(features.size(0)), features.size(1));
}

std::vector<std::int64_t> ImageFeatures::offsets() const {
  std::vector<std::int64_t> offsets{0};
  for (const std::int64_t count : positions) offsets.push_back(offsets.back() + count);
  return offsets;
}

at::Tensor ImageFeatures::of(std::int64_t image) const {
  const auto end = positions.begin() + image;
  return rows.narrow(0, std::accumulate(positions.begin(), end, std::int64_t{0}), *end);
}

ImageFeatures ImageFeatures::select(std::span<const std::int64_t> images) const {
  const std::vector<std::int64_t> first = offsets();
  std::vector<std::int64_t> chosen, counts;
  for (const std::int64_t image : images) {
    const auto place = static_cast<std::size_t>(image);
    counts.push_back(positions.at(place));
    for (std::int64_t p = 0; p < counts.back(); ++p) chosen.push_back(first[place] + p);
  }
  return {rows.index_select(0, at::tensor(chosen, at::kLong)), std::move(counts)};
}

at::Tensor ImageFeatures::stacked() const {
  const bool same =
      std::ranges::all_of(positions, [this](std::int64_t count) { return count == positions[0]; });
  TORCH_CHECK(same && !positions.empty(), "image features: pictures of one size expected");
  return rows.view({images(), positions[0], rows.size(1)});
}

ImageFeatures join(std::span<const ImageFeatures> parts) {
  if (parts.size() == 1) return parts[0];
  std::vector<at::Tensor> rows;
  std::vector<std::int64_t> positions;
  for (const ImageFeatures& part : parts) {
    rows.push_back(part.rows);
    positions.insert(positions.end(), part.positions.begin(), part.positions.end());
  }
  return {at::cat(rows), std::move(positions)};
}

ImageFeatures encode_pictures(
    std::span<const at::Tensor> pictures,
    const std::function<at::Tensor(const at::Tensor& pixels, std::size_t first)>& encode) {
  TORCH_CHECK(!pictures.empty(), "no picture to encode");
  const bool same = std::ranges::all_of(
      pictures, [&](const at::Tensor& picture) { return picture.sizes() == pictures[0].sizes(); });
  if (same) return encode(at::stack(at::TensorList(pictures.data(), pictures.size())), 0);
  std::vector<ImageFeatures> parts;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    parts.emplace_back(encode(pictures[i].unsqueeze(0), i));
  }
  return join(parts);
}

}  // namespace blip2
