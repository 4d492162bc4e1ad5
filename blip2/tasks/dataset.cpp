#include "blip2/tasks/dataset.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/base/parallel.h"
#include "blip2/base/scoped_timer.h"
#include "blip2/data/batch.h"
#include "blip2/image/image.h"
#include "blip2/model/image_side.h"
#include "blip2/processes/rank_work.h"
#include "blip2/processes/ranks.h"

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

void require_captions(const RecordFile& file) {
  for (const Record& record : file.records) {
    if (!record.captions.empty()) continue;
    throw Error("expected captions, got a question",
                fmt::format("{}:{}", file.path.string(), record.line),
                "stage 1 learns from captions");
  }
}

std::vector<FeatureSource> sources_of(const std::vector<std::string>& paths,
                                      const std::string& key) {
  std::vector<FeatureSource> sources;
  for (const std::string& path : paths) sources.push_back({path, key});
  return sources;
}

// Which of the pictures cannot be read, and why.
std::map<std::string, std::string> unreadable_of(const std::vector<std::string>& pictures) {
  std::vector<std::string> failures(pictures.size());
  parallel_for(pictures.size(), static_cast<std::size_t>(at::get_num_threads()),
               [&](std::size_t i) {
                 try {
                   load_image(pictures[i], SixteenBit::scale);  // which has nothing to warn of
                 } catch (const Error& error) {
                   failures[i] = error.what();
                 }
               });
  std::map<std::string, std::string> unreadable;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    if (!failures[i].empty()) unreadable.emplace(pictures[i], failures[i]);
  }
  return unreadable;
}

// The features of all files' pictures. A picture of fewer views than others has them several times.
struct Features {
  std::vector<std::string> pictures;
  FeatureTable table;
};

Features ensure_features(const std::vector<RecordFile>& files,
                         const std::vector<FeatureSource>& sources, const ImageEncoder& encoder,
                         FeatureCache& cache, const Ranks* ranks) {
  std::map<std::string, std::int64_t> views_of;
  Features features;
  for (std::size_t i = 0; i < files.size(); ++i) {
    for (const std::string& picture : number_pictures(files[i].records).names) {
      std::int64_t& views = views_of[picture];
      if (views == 0) features.pictures.push_back(picture);
      views = std::max(views, sources[i].views);
    }
    features.table.views = std::max(features.table.views, sources[i].views);
  }
  std::map<std::int64_t, std::vector<std::string>> groups;
  for (const std::string& picture : features.pictures) groups[views_of[picture]].push_back(picture);
  const auto encode = [&](const at::Tensor& pixels) { return encoder.forward(pixels); };
  std::map<std::string, std::vector<std::int64_t>> rows_of;
  for (const auto& [views, pictures] : groups) {
    EnsureOptions options;
    options.views = views;
    options.threads = static_cast<std::size_t>(at::get_num_threads());
    options.quiet = !is_main_process(ranks);
    if (ranks) options.meanwhile = [ranks] { ranks->check(); };
    FeatureTable some = cache.ensure(pictures, encode, options);
    features.table.computed += some.computed;
    features.table.unreadable.merge(some.unreadable);
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      const auto first = some.rows.begin() + static_cast<std::ptrdiff_t>(i) * views;
      rows_of[pictures[i]].assign(first, first + views);
    }
  }
  for (const std::string& picture : features.pictures) {
    const auto& rows = rows_of[picture];
    for (std::int64_t v = 0; v < features.table.views; ++v) {
      features.table.rows.push_back(rows[static_cast<std::size_t>(v) % rows.size()]);
    }
  }
  return features;
}

}  // namespace

ImageFeatures Dataset::gather(std::span<const std::int64_t> items, std::uint64_t seed,
                              std::optional<std::int64_t> step) const {
  if (live) return live->gather(pictures_of(items), step.value_or(-1));
  const ScopedTimer timer(read_seconds);
  return cache->gather(rows_of(items, seed, step));
}

void Dataset::read_ahead(std::span<const std::int64_t> items, std::uint64_t seed,
                         std::int64_t step) const {
  if (live) {
    live->prepare(pictures_of(items), step);
  } else {
    cache->read_ahead(rows_of(items, seed, step));
  }
}

std::vector<std::int64_t> Dataset::readable(std::span<const std::int64_t> items,
                                            std::int64_t step) const {
  if (!live) return {items.begin(), items.end()};  // what cannot be read was left out before
  std::vector<std::int64_t> chosen;
  for (const std::size_t place : live->readable(pictures_of(items), step)) {
    chosen.push_back(items[place]);
  }
  return chosen;
}

std::vector<std::int64_t> Dataset::pictures_of(std::span<const std::int64_t> items) const {
  std::vector<std::int64_t> numbers;
  for (const std::int64_t item : items) {
    numbers.push_back(pictures.of_item.at(static_cast<std::size_t>(item)));
  }
  return numbers;
}

std::vector<std::int64_t> Dataset::rows_of(std::span<const std::int64_t> items, std::uint64_t seed,
                                           std::optional<std::int64_t> step) const {
  std::vector<std::int64_t> rows;
  for (const std::int64_t picture : pictures_of(items)) {
    // View 0 is the plain picture; training draws among the augmented ones and it.
    const auto view = step ? choose_view(picture, features.views, seed, *step) : 0;
    rows.push_back(features.row(picture, view));
  }
  return rows;
}

SamplerOptions sampler_options(const Recipe& recipe, const RecordPictures& pictures) {
  SamplerOptions options;
  options.seed = static_cast<std::uint64_t>(recipe.seed);
  options.batch_size = recipe.batch_size;
  if (recipe.stage == 1) options.distinct = pictures.of_item;
  return options;
}

std::string feature_cache_folder(const Recipe& recipe, const std::filesystem::path& output) {
  if (!recipe.data.cache.empty()) return recipe.data.cache;
  const auto run = std::filesystem::absolute(output / ".").lexically_normal();
  return (run.parent_path().parent_path() / "features").string();
}

std::shared_ptr<FeatureCache> open_feature_cache(const Recipe& recipe, const ImageEncoder& encoder,
                                                 const Preprocessing& preprocessing) {
  FeatureKey key;
  key.encoder = describe_encoder(encoder);
  key.preprocessing = preprocessing;
  // Plain pictures do not depend on how views would be drawn: all such recipes share them.
  if (recipe.data.augments()) {
    key.augmentation = augmentation_of(recipe);
    key.seed = static_cast<std::uint64_t>(recipe.seed);
  }
  key.positions = encoder.positions();
  key.width = encoder.width();
  key.storage = storage_type(recipe);
  return std::make_shared<FeatureCache>(recipe.data.cache, key);
}

std::vector<FeatureSource> train_sources(const Recipe& recipe) {
  const DataRecipe& data = recipe.data;
  std::vector<FeatureSource> sources = sources_of(data.train, recipe.place("data.train"));
  for (std::size_t i = 0; i < sources.size(); ++i) {
    sources[i].weight = data.weights.empty() ? 0 : data.weights[i];
    sources[i].views = 1 + data.views_of(i);
  }
  return sources;
}

std::vector<FeatureSource> validation_sources(const Recipe& recipe) {
  return sources_of(recipe.data.validation, recipe.place("data.validation"));
}

RecordFile read_source(const FeatureSource& source, const Recipe& recipe) {
  try {
    RecordFile file = read_records(source.path, RecordUse::train, {.share = recipe.data.bad_share});
    if (recipe.stage == 1) require_captions(file);
    return file;
  } catch (const Error& error) {
    throw error.within(source.key);
  }
}

std::vector<RecordFile> read_sources(const std::vector<FeatureSource>& sources,
                                     const Recipe& recipe) {
  std::vector<RecordFile> files;
  for (const FeatureSource& source : sources) {
    files.push_back(read_source(source, recipe));
    report_bad_records(files.back());
  }
  return files;
}

Dataset load_dataset(std::vector<RecordFile> files, const std::vector<FeatureSource>& sources,
                     const Recipe& recipe, const ImageEncoder& encoder,
                     std::shared_ptr<FeatureCache> cache, const Ranks* ranks) {
  const Features all = ensure_features(files, sources, encoder, *cache, ranks);
  Dataset dataset;
  for (std::size_t i = 0; i < files.size(); ++i) {
    drop_pictures(files[i], all.table.unreadable, {.share = recipe.data.bad_share});
    if (!all.table.unreadable.empty()) report_bad_records(files[i]);
    const auto& records = files[i].records;
    dataset.sources.push_back({std::ssize(records), sources[i].weight});
    dataset.records.insert(dataset.records.end(), records.begin(), records.end());
  }
  dataset.pictures = number_pictures(dataset.records);
  dataset.features = all.table.select(all.pictures, dataset.pictures.names);
  dataset.cache = std::move(cache);
  return dataset;
}

Dataset load_live_dataset(const std::vector<FeatureSource>& sources, const Recipe& recipe,
                          StepEncoder encoder, const Preprocessing& preprocessing,
                          const LiveDatasetOptions& wanted) {
  Dataset dataset;
  const DataRecipe& data = recipe.data;
  auto files = read_sources(sources, recipe);
  for (std::size_t i = 0; i < files.size(); ++i) {
    auto& records = files[i].records;
    const auto most = static_cast<std::size_t>(wanted.most.value_or(std::ssize(records)));
    if (records.size() > most) records.resize(most);
    if (wanted.plain) {
      drop_pictures(files[i], unreadable_of(number_pictures(records).names),
                    {.share = data.bad_share});
      report_bad_records(files[i]);
    }
    dataset.sources.push_back({std::ssize(records), sources[i].weight});
    dataset.records.insert(dataset.records.end(), records.begin(), records.end());
  }
  dataset.pictures = number_pictures(dataset.records);
  LiveFeatureOptions options;
  options.loader.preprocessing = preprocessing;
  if (data.views > 0 && !wanted.plain) options.loader.augmentation = augmentation_of(recipe);
  options.loader.seed = static_cast<std::uint64_t>(recipe.seed);
  options.loader.threads = static_cast<std::size_t>(at::get_num_threads());
  options.bad_share = data.bad_share;
  options.storage = recipe.image_encoder.train ? at::kFloat : storage_type(recipe);
  dataset.live =
      std::make_shared<LiveFeatures>(dataset.pictures.names, std::move(encoder), options);
  return dataset;
}

}  // namespace blip2
