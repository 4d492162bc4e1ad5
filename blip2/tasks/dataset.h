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

// The number of coming steps whose pictures or features are read while a step is computed.
constexpr std::int64_t kStepsAhead = 2;

// A data set: the records of some data files (its items) with the features of their pictures. For
// one thread at a time.
struct Dataset {
  std::vector<Record> records;
  std::vector<SampleSource> sources;  // one a file
  RecordPictures pictures;  // the distinct pictures, and the number of each item's picture
  FeatureTable features;    // rows of the pictures, by their number
  std::shared_ptr<FeatureCache> cache;
  std::shared_ptr<LiveFeatures> live;  // instead of cached features

  bool empty() const { return records.empty(); }
  std::int64_t size() const { return std::ssize(records); }
  // Starts to read the pictures or features of a coming step's items; `seed`: as for gather().
  void read_ahead(std::span<const std::int64_t> items, std::uint64_t seed, std::int64_t step) const;
  // The items, where items whose picture cannot be read are replaced by other items of the batch.
  // Throws the Error of LiveFeatures::readable().
  std::vector<std::int64_t> readable(std::span<const std::int64_t> items, std::int64_t step) const;
  // The features of readable items, in their storage type: of the view that the step
  // draws, or without a step of the plain view.
  ImageFeatures gather(std::span<const std::int64_t> items, std::uint64_t seed,
                       std::optional<std::int64_t> step) const;
  // The seconds that training has waited so far for features or pictures.
  double waited() const { return live ? live->waited() : read_seconds; }

  mutable double read_seconds = 0;  // seconds spent reading cached features

 private:
  std::vector<std::int64_t> pictures_of(std::span<const std::int64_t> items) const;
  // The cache's rows of the items' pictures.
  std::vector<std::int64_t> rows_of(std::span<const std::int64_t> items, std::uint64_t seed,
                                    std::optional<std::int64_t> step) const;
};

// The options by which training draws batches: in stage 1 a batch has distinct pictures, where that
// is possible.
SamplerOptions sampler_options(const Recipe& recipe, const RecordPictures& pictures);

// The folder in which a run in `output` keeps its features: the recipe's folder, otherwise one
// beside the output folder, which all runs there share.
std::string feature_cache_folder(const Recipe& recipe, const std::filesystem::path& output);

// Opens the cache of features for this recipe and encoder.
std::shared_ptr<FeatureCache> open_feature_cache(const Recipe& recipe, const ImageEncoder& encoder,
                                                 const Preprocessing& preprocessing);

// A data file, the place of its recipe's key for messages, its weight among the data files (0: its
// size decides), and the number of views of each picture: the plain view and the augmented views.
struct FeatureSource {
  std::string path, key;
  double weight = 0;
  std::int64_t views = 1;
};
std::vector<FeatureSource> train_sources(const Recipe& recipe);
std::vector<FeatureSource> validation_sources(const Recipe& recipe);

// The records of a source, for the recipe's stage. Error that begins with the key if the file
// cannot be read or has more bad records than the recipe allows; Error naming file and record if
// stage 1, which learns from captions, meets a question.
RecordFile read_source(const FeatureSource& source, const Recipe& recipe);
// Those of several sources; warnings tell of bad ones.
std::vector<RecordFile> read_sources(const std::vector<FeatureSource>& sources,
                                     const Recipe& recipe);

// Computes missing features of the files that read_sources gave, together with the other processes
// that use the cache's folder, and leaves out unreadable pictures; more of them than the recipe's
// bad_share are an Error. Error if one of `ranks` is gone meanwhile.
Dataset load_dataset(std::vector<RecordFile> files, const std::vector<FeatureSource>& sources,
                     const Recipe& recipe, const ImageEncoder& encoder,
                     std::shared_ptr<FeatureCache> cache, const Ranks* ranks);

struct LiveDatasetOptions {
  std::optional<std::int64_t> most;  // take only the first `most` records of each file
  // Plain pictures without augmentation, for validation. Each picture is read once beforehand;
  // unreadable pictures are left out, and more than the recipe's bad_share are an Error.
  bool plain = false;
};

// Reads data files whose pictures are read at each step and not cached.
Dataset load_live_dataset(const std::vector<FeatureSource>& sources, const Recipe& recipe,
                          StepEncoder encoder, const Preprocessing& preprocessing,
                          const LiveDatasetOptions& options = {});

}  // namespace blip2
