#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/data/batch.h"
#include "blip2/data/feature_cache.h"
#include "blip2/data/records.h"
#include "blip2/data/sampler.h"
#include "blip2/recipe/recipe.h"
#include "blip2/tasks/live_features.h"
#include "blip2/vision/image_encoder.h"

namespace blip2 {

class Ranks;

// So many coming steps' pictures or features are read while one is taken.
constexpr std::int64_t kStepsAhead = 2;

// The records of some data files, its items, with their pictures' features.
struct Dataset {
  std::vector<Record> records;
  std::vector<SampleSource> sources;  // one a file
  RecordPictures pictures;            // the different ones, and the number of each item's
  FeatureTable features;              // of the pictures, by their number
  std::shared_ptr<FeatureCache> cache;
  std::shared_ptr<LiveFeatures> live;  // instead of cached features

  bool empty() const { return records.empty(); }
  std::int64_t size() const { return std::ssize(records); }
  // Has the pictures or features of a coming step's items read before it; `seed` as gather() will
  // have it.
  void read_ahead(std::span<const std::int64_t> items, std::uint64_t seed, std::int64_t step) const;
  // The items, with others of the batch in place of those whose picture cannot be read. Error as
  // LiveFeatures::readable() gives it.
  std::vector<std::int64_t> readable(std::span<const std::int64_t> items, std::int64_t step) const;
  // The features [B, P, D] of readable items, in their storage type: of the plain view without a
  // step, otherwise of the view that the step draws.
  at::Tensor gather(std::span<const std::int64_t> items, std::uint64_t seed,
                    std::optional<std::int64_t> step) const;
  // Seconds that training has stood still so far for features or pictures to be read.
  double waited() const { return live ? live->waited() : read_seconds; }

  mutable double read_seconds = 0;  // of cached features

 private:
  std::vector<std::int64_t> pictures_of(std::span<const std::int64_t> items) const;
  // The cache's rows of the items' pictures.
  std::vector<std::int64_t> rows_of(std::span<const std::int64_t> items, std::uint64_t seed,
                                    std::optional<std::int64_t> step) const;
};

// How training draws a data set's batches: in stage 1 of different pictures, where that can be.
SamplerOptions sampler_options(const Recipe& recipe, const RecordPictures& pictures);

// Where a run in `output` keeps its features: where the recipe says, otherwise beside the output
// folder, for all runs there.
std::string feature_cache_folder(const Recipe& recipe, const std::filesystem::path& output);

// The cache of the recipe's features by this encoder.
std::shared_ptr<FeatureCache> open_feature_cache(const Recipe& recipe, const ImageEncoder& encoder,
                                                 const Preprocessing& preprocessing);

// A data file, its weight among the others (0: by its size), and how many views of each picture it
// has: the plain one and the augmented ones.
struct FeatureSource {
  std::string path;
  double weight = 0;
  std::int64_t views = 1;
};
std::vector<FeatureSource> train_sources(const DataRecipe& recipe);
std::vector<FeatureSource> plain_sources(const std::vector<std::string>& paths);

// Reads data files, computes what features are missing, shared with the other processes that use
// the cache's folder, and leaves out what is bad, within the recipe's share. Error if one of
// `ranks` is gone meanwhile.
Dataset load_dataset(const std::vector<FeatureSource>& sources, const Recipe& recipe,
                     const ImageEncoder& encoder, std::shared_ptr<FeatureCache> cache,
                     const Ranks* ranks);

struct LiveDatasetOptions {
  std::optional<std::int64_t> most;  // the first so many records of each file alone
  // Plain pictures, for validation: without augmentation. Each is read once beforehand; what cannot
  // be read is left out, within the recipe's share.
  bool plain = false;
};

// Reads data files whose pictures are read at each step and not cached.
Dataset load_live_dataset(const std::vector<FeatureSource>& sources, const Recipe& recipe,
                          StepEncoder encoder, const Preprocessing& preprocessing,
                          const LiveDatasetOptions& options = {});

}  // namespace blip2
