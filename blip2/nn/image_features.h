#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace blip2 {

// An image encoder's features of some pictures, one picture's positions after another's. Pictures
// of any aspect have different numbers of positions: nothing stands in the place of those that a
// picture does not have, so nobody needs a mask.
struct ImageFeatures {
  at::Tensor rows;                      // [sum of P_i, D]
  std::vector<std::int64_t> positions;  // P_i of each picture

  ImageFeatures() = default;
  ImageFeatures(at::Tensor rows_, std::vector<std::int64_t> positions_);
  // [I, P, D]: pictures with the same number of positions. Error for another shape.
  ImageFeatures(const at::Tensor& features);  // NOLINT(google-explicit-constructor)

  std::int64_t images() const { return std::ssize(positions); }
  bool defined() const { return rows.defined(); }
  // The first row of each picture, and the end of the last.
  std::vector<std::int64_t> offsets() const;
  // [P, D] of one picture.
  at::Tensor of(std::int64_t image) const;
  // [1, P, D] of one picture, which may have memory of its own.
  at::Tensor alone(std::int64_t image) const { return of(image).unsqueeze(0); }
  // Of some pictures in the given order; one may be there several times.
  ImageFeatures select(std::span<const std::int64_t> images) const;
  ImageFeatures to(at::ScalarType type) const { return {rows.to(type), positions}; }
  // [I, P, D] of pictures with the same number of positions. c10::Error if they differ.
  at::Tensor stacked() const;
};

// The features of the pictures of all parts, in order; there is at least one part.
ImageFeatures join(std::span<const ImageFeatures> parts);

// Encodes pictures [3, H, W] by `encode`, which maps the pictures [n, 3, H, W] from the given one
// on to [n, P, D]: all together if they have one size, otherwise one by one.
ImageFeatures encode_pictures(
    std::span<const at::Tensor> pictures,
    const std::function<at::Tensor(const at::Tensor& pixels, std::size_t first)>& encode);

}  // namespace blip2
