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

namespace blip2 {

// [B, 3, H, W] f32 -> [B, P, D], with a seed of each picture in a training step, otherwise none.
using StepEncoder = std::function<at::Tensor(const at::Tensor&, std::span<const std::uint64_t>)>;

struct LiveFeatureOptions {
  PictureLoaderOptions loader;
  double bad_share = 0.01;  // of the different pictures, before an unreadable one is an error
  at::ScalarType storage = at::kBFloat16;
};

// Features of training pictures without a cache: read and augmented ahead of the step, encoded in
// it. What a step gets depends on seed, step and pictures alone. Pictures are places in the list
// that the constructor takes.
class LiveFeatures {
 public:
  LiveFeatures(const std::vector<std::string>& pictures, StepEncoder encoder,
               LiveFeatureOptions options);

  // Starts to read the pictures of a step.
  void prepare(std::span<const std::int64_t> pictures, std::int64_t step);
  // For each of a step's pictures the place in the batch of one that can be read: its own or, where
  // it cannot be read, another's. Names each such picture once. Error if none of the batch can be
  // read, or more than the share of all.
  std::vector<std::size_t> readable(std::span<const std::int64_t> pictures, std::int64_t step);
  // Features [B, P, D] in the storage type of pictures of the step that can be read, with the
  // gradient that the encoder gives them. Step -1: of no training step.
  at::Tensor gather(std::span<const std::int64_t> pictures, std::int64_t step);

  std::int64_t bad_pictures() const { return static_cast<std::int64_t>(bad_.size()); }
  double waited() const { return waited_; }  // seconds, for pictures that were not there in time
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
