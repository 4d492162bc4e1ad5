#include "blip2/data/feature_cache.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>
#include <iterator>
#include <list>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/log.h"
#include "blip2/base/parallel.h"
#include "blip2/base/progress.h"
#include "blip2/io/tar_place.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/vision/image_encoder.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kViewChoice = 17;  // sub-stream of the seed
constexpr std::uint64_t kMaxFileBytes = ImageLimits{}.max_bytes;
// The time between two checks whether other processes have finished, and the number of checks
// before a message says that this process waits for them.
constexpr std::chrono::milliseconds kCheckInterval{50};
constexpr int kChecksBeforeMessage = 100;

using Count = std::int64_t;  // of positions, after a row's features

std::size_t row_bytes_of(const FeatureKey& key) {
  const bool known =
      key.storage == at::kBFloat16 || key.storage == at::kHalf || key.storage == at::kFloat;
  TORCH_CHECK(known && key.positions > 0 && key.width > 0, "features: bad shape or storage type");
  return key.feature_bytes() + (key.varies() ? sizeof(Count) : 0);
}

std::filesystem::path folder_of(const std::filesystem::path& root, const FeatureKey& key) {
  const std::string text = key.to_text();
  return root / content_hash(std::as_bytes(std::span(text))).hex();
}

// Runs `read` and notes the message of a picture that cannot be read.
template <typename Read>
void noting_failure(std::string& failure, const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    failure = error.what();
  }
}

std::string read_picture(const std::string& path) {
  return read_source(path, kMaxFileBytes);
}

ContentHash hash_of(const std::string& bytes) {
  return content_hash(std::as_bytes(std::span(bytes)));
}

}  // namespace

// One picture and its views that are not there yet.
struct FeatureCache::Work {
  std::string path;
  ContentHash hash;
  std::vector<std::int64_t> views;
};

// What is neither there nor taken: parts that one process encodes together.
struct FeatureCache::Pending {
  std::list<std::vector<Work>> parts;
  std::int64_t rows = 0;
};

struct FeatureCache::Pixels {
  std::vector<at::Tensor> values;  // n of [3, H, W] f32
  std::vector<RowKey> keys;        // n
  std::int64_t asked = 0;          // n and the views of unreadable pictures
  std::vector<ContentHash> pictures;
  std::map<std::string, std::string> unreadable;
};

std::size_t FeatureKey::feature_bytes() const {
  return static_cast<std::size_t>(positions * width) * c10::elementSize(storage);
}

namespace {

// The features in rows [n, bytes], each of as many positions as it says at its end.
ImageFeatures own_positions(const at::Tensor& rows, const FeatureKey& key,
                            const std::filesystem::path& folder) {
  const auto most = static_cast<std::int64_t>(key.feature_bytes());
  std::vector<at::Tensor> parts;
  std::vector<std::int64_t> positions;
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    const at::Tensor row = rows[i];
    Count count = 0;
    std::memcpy(&count, row.const_data_ptr<std::uint8_t>() + most, sizeof count);
    if (count < 1 || count > key.positions) {
      throw Error("a row of features has an impossible number of positions", folder.string(),
                  "delete the folder; they are computed anew");
    }
    const at::Tensor filled = row.narrow(0, 0, count * (most / key.positions)).clone();
    parts.push_back(filled.view(key.storage).view({count, key.width}));
    positions.push_back(count);
  }
  return {at::cat(parts), std::move(positions)};
}

}  // namespace

std::string FeatureKey::to_text() const {
  constexpr int kFormat = 1;  // of the rows; raise it when the same key gives other features
  const Preprocessing& p = preprocessing;
  const Augmentation& a = augmentation;
  nlohmann::ordered_json json = {
      {"format", kFormat},
      {"encoder", encoder},
      {"size", {p.width, p.height}},
      {"resize", {p.resize_width, p.resize_height, p.shortest_edge}},
      {"filter", static_cast<int>(p.filter)},
      {"rescale_factor", p.rescale_factor},
      {"mean", p.mean},
      {"std", p.std},
      {"scale", {a.min_scale, a.max_scale}},
      {"ratio", {a.min_ratio, a.max_ratio}},
      {"flip_probability", a.flip_probability},
      {"seed", seed},
      {"row", {positions, width}},
      {"storage", c10::toString(storage)},
  };
  // Named only where they are not what caches written before they existed have.
  if (p.resizes_floats) json["resizes_floats"] = true;
  if (varies()) json["patches"] = {p.patch_size, p.max_num_patches};
  if (!p.normalised) json["normalised"] = false;
  if (p.processor != Resampler::pillow) json["processor"] = "torchvision";
  if (p.sixteen_bit != SixteenBit::cut) json["sixteen_bit"] = "scale";
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string hash_module(const torch::nn::Module& module) {
  std::string parts;
  for (const TensorView& view : views_of(module)) {
    parts += fmt::format("{} {} {} {}\n", view.name, dtype_name(view.dtype), shape_text(view.shape),
                         content_hash(view.data).hex());
  }
  return content_hash(std::as_bytes(std::span(parts))).hex();
}

FeatureTable FeatureTable::select(std::span<const std::string> all,
                                  std::span<const std::string> some) const {
  std::unordered_map<std::string, std::int64_t> places;
  for (std::size_t i = 0; i < all.size(); ++i) {
    places.emplace(all[i], static_cast<std::int64_t>(i));
  }
  FeatureTable table{views, {}, {}, 0};
  for (const std::string& picture : some) {
    const auto found = places.find(picture);
    if (found == places.end()) throw Error("has no features", picture);
    for (std::int64_t v = 0; v < views; ++v) table.rows.push_back(row(found->second, v));
  }
  return table;
}

FeatureCache::FeatureCache(const std::filesystem::path& root, const FeatureKey& key)
    : key_(key), store_(folder_of(root, key), key.to_text(), row_bytes_of(key)) {}

FeatureCache::Pending FeatureCache::find_missing(std::span<const std::string> pictures,
                                                 std::span<const ContentHash> hashes,
                                                 const EnsureOptions& options,
                                                 const FeatureTable& table) const {
  const auto pictures_per_batch =
      static_cast<std::size_t>((options.batch_size - 1) / options.views + 1);
  Pending pending;
  std::set<ContentHash> seen;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    if (table.unreadable.contains(pictures[i]) || !seen.insert(hashes[i]).second) continue;
    if ((seen.size() - 1) % pictures_per_batch == 0) pending.parts.emplace_back();
    Work item{pictures[i], hashes[i], {}};
    for (std::int64_t v = 0; v < options.views; ++v) {
      if (!store_.find({hashes[i], static_cast<std::uint64_t>(v)})) item.views.push_back(v);
    }
    pending.rows += std::ssize(item.views);
    if (!item.views.empty()) pending.parts.back().push_back(std::move(item));
  }
  std::erase_if(pending.parts, [](const auto& part) { return part.empty(); });
  return pending;
}

// The first part of which something is neither there nor another process's, now this one's.
std::vector<FeatureCache::Work> FeatureCache::take_work(Pending& pending,
                                                        const FeatureStore::Claims& claims) {
  const auto lock = store_.lock();
  std::vector<Work> taken;
  for (auto part = pending.parts.begin(); part != pending.parts.end() && taken.empty();) {
    std::vector<Work> left;
    for (Work& item : *part) {
      pending.rows -= static_cast<std::int64_t>(std::erase_if(item.views, [&](std::int64_t view) {
        return store_.find({item.hash, static_cast<std::uint64_t>(view)}).has_value();
      }));
      if (item.views.empty()) continue;
      const bool free = claims.take(item.hash);
      if (free) pending.rows -= std::ssize(item.views);
      (free ? taken : left).push_back(std::move(item));
    }
    *part = std::move(left);
    part = part->empty() ? pending.parts.erase(part) : std::next(part);
  }
  return taken;
}

FeatureCache::Pixels FeatureCache::decode(std::span<const Work> work, std::size_t threads) const {
  const Preprocessing& p = key_.preprocessing;
  std::vector<std::vector<at::Tensor>> values(work.size());
  std::vector<std::string> failures(work.size());
  parallel_for(work.size(), threads, [&](std::size_t i) {
    noting_failure(failures[i], [&] {
      const std::string bytes = read_picture(work[i].path);
      if (hash_of(bytes) != work[i].hash) throw Error("changed while it was read", work[i].path);
      const Image image =
          decode_image(std::as_bytes(std::span(bytes)), work[i].path, p.sixteen_bit);
      for (const std::int64_t view : work[i].views) {
        Random random(derive_seed(key_.seed, work[i].hash.low, work[i].hash.high, view));
        values[i].push_back(to_tensor(view == 0 ? preprocess(image, p)
                                                : augment(image, p, key_.augmentation, random)));
      }
    });
  });
  Pixels pixels;
  for (std::size_t i = 0; i < work.size(); ++i) {
    pixels.asked += std::ssize(work[i].views);
    pixels.pictures.push_back(work[i].hash);
    if (!failures[i].empty()) {
      pixels.unreadable[work[i].path] = failures[i];
      continue;
    }
    for (std::size_t v = 0; v < values[i].size(); ++v) {
      pixels.values.push_back(std::move(values[i][v]));
      pixels.keys.push_back({work[i].hash, static_cast<std::uint64_t>(work[i].views[v])});
    }
  }
  return pixels;
}

// The rows of a store with these features.
std::vector<std::byte> FeatureCache::bytes_of(const ImageFeatures& features) const {
  const at::Tensor rows = features.rows.to(key_.storage).contiguous();
  const auto* from = static_cast<const std::byte*>(rows.const_data_ptr());
  const std::size_t position = key_.feature_bytes() / static_cast<std::size_t>(key_.positions);
  std::vector<std::byte> bytes(features.positions.size() * store_.row_bytes());
  std::byte* row = bytes.data();
  for (const Count count : features.positions) {
    const bool fits =
        key_.varies() ? count >= 1 && count <= key_.positions : count == key_.positions;
    TORCH_CHECK(fits && rows.size(1) == key_.width, "features: expected ", key_.positions, " x ",
                key_.width, " from the encoder, got ", count, " x ", rows.size(1));
    const std::size_t size = static_cast<std::size_t>(count) * position;
    std::memcpy(row, from, size);
    if (key_.varies()) std::memcpy(row + key_.feature_bytes(), &count, sizeof count);
    from += size;
    row += store_.row_bytes();
  }
  return bytes;
}

void FeatureCache::add(const Pixels& pixels, const Encoder& encoder,
                       const FeatureStore::Claims& claims, FeatureTable& table) {
  table.unreadable.insert(pixels.unreadable.begin(), pixels.unreadable.end());
  if (!pixels.keys.empty()) {
    const at::NoGradGuard no_grad;
    const ImageFeatures features = encode_pictures(
        pixels.values, [&](const at::Tensor& some, std::size_t) { return encoder(some); });
    TORCH_CHECK(features.images() == std::ssize(pixels.keys), "features: of other pictures");
    store_.append(*store_.lock(), pixels.keys, bytes_of(features));
    table.computed += features.images();
  }
  for (const ContentHash& picture : pixels.pictures) claims.give_back(picture);
}

void FeatureCache::compute(Pending& pending, const Encoder& encoder, const EnsureOptions& options,
                           FeatureTable& table) {
  const std::int64_t total = pending.rows;
  store_.require_space(total);
  const FeatureStore::Claims claims(store_);
  std::optional<Progress> progress;
  if (!options.quiet) progress.emplace(options.label, total);
  std::int64_t in_hand = 0;
  int idle = 0;
  const auto take_ahead = [&]() -> std::future<Pixels> {
    auto work = take_work(pending, claims);
    if (work.empty()) return {};
    for (const Work& item : work) in_hand += std::ssize(item.views);
    return std::async(std::launch::async, [this, work = std::move(work), n = options.threads] {
      return decode(work, n);
    });
  };
  for (auto ahead = take_ahead(); ahead.valid() || pending.rows > 0;) {
    if (interrupted()) throw Interrupted{};
    options.meanwhile();
    if (ahead.valid()) {
      const Pixels pixels = ahead.get();
      ahead = take_ahead();
      add(pixels, encoder, claims, table);
      in_hand -= pixels.asked;
    } else {
      if (++idle == kChecksBeforeMessage)
        log_info("others compute features in {}", folder().string());
      std::this_thread::sleep_for(kCheckInterval);
      ahead = take_ahead();
    }
    if (progress) progress->update(total - pending.rows - in_hand);
  }
  store_.sync(*store_.lock());
  if (!progress) return;
  progress->update(total);
  progress->finish();
}

FeatureTable FeatureCache::ensure(std::span<const std::string> pictures, const Encoder& encoder,
                                  const EnsureOptions& options) {
  TORCH_CHECK(options.views > 0 && options.batch_size > 0, "features: expected at least one view");
  std::vector<ContentHash> hashes(pictures.size());
  std::vector<std::string> failures(pictures.size());
  parallel_for(pictures.size(), options.threads, [&](std::size_t i) {
    noting_failure(failures[i], [&] { hashes[i] = hash_of(read_picture(pictures[i])); });
  });
  FeatureTable table{options.views, {}, {}, 0};
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    if (!failures[i].empty()) table.unreadable[pictures[i]] = failures[i];
  }
  Pending pending = find_missing(pictures, hashes, options, table);
  if (pending.rows > 0) compute(pending, encoder, options, table);
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    for (std::int64_t v = 0; v < options.views; ++v) {
      const auto row = store_.find({hashes[i], static_cast<std::uint64_t>(v)});
      table.rows.push_back(row.value_or(-1));
      if (!row) table.unreadable.try_emplace(pictures[i], "is a copy of an unreadable picture");
    }
  }
  return table;
}

ImageFeatures FeatureCache::gather(std::span<const std::int64_t> rows) const {
  const auto count = static_cast<std::int64_t>(rows.size());
  for (const std::int64_t row : rows) {
    TORCH_CHECK(row >= 0 && row < store_.rows(), "features: no row ", row);
  }
  const at::Tensor whole =
      at::empty({count, static_cast<std::int64_t>(store_.row_bytes())}, at::kByte);
  auto* bytes = static_cast<std::byte*>(whole.mutable_data_ptr());
  at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      store_.read(rows[static_cast<std::size_t>(i)],
                  bytes + static_cast<std::size_t>(i) * store_.row_bytes());
    }
  });
  if (key_.varies()) return own_positions(whole, key_, folder());
  return whole.flatten().view(key_.storage).view({count, key_.positions, key_.width});
}

void FeatureCache::read_ahead(std::span<const std::int64_t> rows) const {
  for (const std::int64_t row : rows) store_.read_ahead(row);
}

std::int64_t choose_view(std::int64_t picture, std::int64_t views, std::uint64_t seed,
                         std::int64_t step) {
  Random random(derive_seed(seed, kViewChoice, step, picture));
  return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(views)));
}

}  // namespace blip2
