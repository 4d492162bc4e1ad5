#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "blip2/data/picture_loader.h"
#include "blip2/nn/image_features.h"

namespace blip2 {

// Encodes pictures: [B, 3, H, W] f32 -> [B, P, D]. `seeds`: one for each picture in a training
// step, otherwise empty. Pictures of different sides come one by one.
using StepEncoder = std::function<at::Tensor(const at::Tensor&, std::span<const std::uint64_t>)>;

struct LiveFeatureOptions {
  PictureLoaderOptions loader;
  double bad_share = 0.01;  // largest share of unreadable pictures; more are an Error
  at::ScalarType storage = at::kBFloat16;
};

// Features of training pictures without a cache: pictures are read and augmented ahead of the step
// and encoded in the step. The features of a step depend on seed, step and pictures alone. Pictures
// are given as places in the constructor's list. For one thread at a time.
class LiveFeatures {
 public:
  LiveFeatures(const std::vector<std::string>& pictures, StepEncoder encoder,
               LiveFeatureOptions options);

  // Starts to read the pictures of a step.
  void prepare(std::span<const std::int64_t> pictures, std::int64_t step);
  // For each picture of a step the place in the batch of a readable picture: its own place or, if
  // it cannot be read, another one's. A warning names each unreadable picture once. Error if no
  // picture of the batch can be read, or if more than bad_share of all pictures cannot.
  std::vector<std::size_t> readable(std::span<const std::int64_t> pictures, std::int64_t step);
  // The features, in the storage type, of readable pictures of the step, with the
  // encoder's gradient if it has one. Step -1: pictures of no training step.
  ImageFeatures gather(std::span<const std::int64_t> pictures, std::int64_t step);

  std::int64_t bad_pictures() const { return static_cast<std::int64_t>(bad_.size()); }
  double waited() const { return waited_; }  // seconds of waiting for pictures
  const PictureLoader& loader() const { return loader_; }

 private:
  // A step's pictures that could be read.
  struct Present {
    std::int64_t step;
    std::vector<std::int64_t> pictures;
    LoadedPictures loaded;
  };
  void note_bad(std::int64_t picture, const std::string& what);
  void load(std::span<const std::int64_t> pictures, std::int64_t step);

  std::int64_t pictures_;
  StepEncoder encoder_;
  LiveFeatureOptions options_;
  PictureLoader loader_;
  std::set<std::int64_t> bad_;
  std::optional<Present> present_;
  double waited_ = 0;
};

}  // namespace blip2
