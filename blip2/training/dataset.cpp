#include "blip2/training/dataset.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/data/batch.h"

namespace blip2 {
namespace {

at::ScalarType storage_type(const Recipe& recipe) {
  return recipe.data.feature_type == "f32" ? at::kFloat : at::kBFloat16;
}

Augmentation augmentation_of(const Recipe& recipe) {
  Augmentation augmentation;
  augmentation.min_scale = recipe.augmentation.min_scale;
  augmentation.flip_probability = recipe.augmentation.flip;
  return augmentation;
}

void report_bad_records(const RecordFile& file) {
  if (const std::string bad = describe_bad_records(file); !bad.empty()) log_warning("{}", bad);
}

std::vector<RecordFile> read_files(const std::vector<std::string>& paths, double bad_share) {
  std::vector<RecordFile> files;
  for (const std::string& path : paths) {
    files.push_back(read_records(path, RecordUse::train, {.share = bad_share}));
    report_bad_records(files.back());
  }
  return files;
}

std::vector<std::string> pictures_of_files(const std::vector<RecordFile>& files) {
  std::vector<Record> records;
  for (const RecordFile& file : files) {
    records.insert(records.end(), file.records.begin(), file.records.end());
  }
  return pictures_of(records);
}

}  // namespace

at::Tensor Dataset::gather(std::span<const std::int64_t> places, std::uint64_t seed,
                           std::optional<std::int64_t> step) const {
  if (live) return live->gather(places, step.value_or(-1));
  const auto count = static_cast<std::int64_t>(places.size());
  const bool augmented = step && features.views > 1;
  // View 0 is the plain picture; training draws among the augmented ones and it.
  const auto views = augmented ? choose_views(count, features.views, seed, *step)
                               : std::vector<std::int64_t>(places.size(), 0);
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < places.size(); ++i) rows.push_back(features.row(places[i], views[i]));
  return cache->gather(rows);
}

std::shared_ptr<FeatureCache> open_feature_cache(const Recipe& recipe, const ImageEncoder& encoder,
                                                 const Preprocessing& preprocessing) {
  FeatureKey key;
  key.encoder = hash_module(encoder) + " " + encoder.config_json().dump();
  key.preprocessing = preprocessing;
  // Plain pictures do not depend on how views would be drawn: all such recipes share them.
  if (recipe.data.views > 0) {
    key.augmentation = augmentation_of(recipe);
    key.seed = static_cast<std::uint64_t>(recipe.seed);
  }
  key.positions = encoder.positions();
  key.width = encoder.width();
  key.storage = storage_type(recipe);
  return std::make_shared<FeatureCache>(recipe.data.cache, key);
}

Dataset load_dataset(const std::vector<std::string>& paths, const std::vector<double>& weights,
                     std::int64_t views, const Recipe& recipe, const ImageEncoder& encoder,
                     std::shared_ptr<FeatureCache> cache) {
  auto files = read_files(paths, recipe.data.bad_share);
  const auto wanted = pictures_of_files(files);
  EnsureOptions options;
  options.views = views;
  options.threads = static_cast<std::size_t>(at::get_num_threads());
  const FeatureTable all = cache->ensure(
      wanted, [&](const at::Tensor& pixels) { return encoder.forward(pixels); }, options);
  Dataset dataset;
  for (std::size_t i = 0; i < files.size(); ++i) {
    drop_pictures(files[i], all.unreadable, {.share = recipe.data.bad_share});
    if (!all.unreadable.empty()) report_bad_records(files[i]);
    const auto& records = files[i].records;
    dataset.sources.push_back({std::ssize(records), weights.empty() ? 0.0 : weights[i]});
    dataset.records.insert(dataset.records.end(), records.begin(), records.end());
  }
  dataset.pictures = pictures_of(dataset.records);
  dataset.features = all.select(wanted, dataset.pictures);
  dataset.cache = std::move(cache);
  return dataset;
}

Dataset load_live_dataset(const Recipe& recipe, Encoder encoder,
                          const Preprocessing& preprocessing) {
  Dataset dataset;
  const DataRecipe& data = recipe.data;
  const auto files = read_files(data.train, data.bad_share);
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto& records = files[i].records;
    dataset.sources.push_back({std::ssize(records), data.weights.empty() ? 0.0 : data.weights[i]});
    dataset.records.insert(dataset.records.end(), records.begin(), records.end());
  }
  dataset.pictures = pictures_of(dataset.records);
  LiveFeatureOptions options;
  options.loader.preprocessing = preprocessing;
  if (data.views > 0) options.loader.augmentation = augmentation_of(recipe);
  options.loader.seed = static_cast<std::uint64_t>(recipe.seed);
  options.loader.threads = static_cast<std::size_t>(at::get_num_threads());
  options.bad_share = data.bad_share;
  options.storage = storage_type(recipe);
  dataset.live = std::make_shared<LiveFeatures>(dataset.records, dataset.pictures,
                                                std::move(encoder), options);
  return dataset;
}

}  // namespace blip2
