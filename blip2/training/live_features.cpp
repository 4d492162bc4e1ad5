#include "blip2/training/live_features.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/base/random.h"
#include "blip2/base/timed.h"

namespace blip2 {
namespace {

// The stream of a step's randomness.
constexpr std::uint64_t kPictureSeed = 51;

}  // namespace

std::vector<std::int64_t> places_of(std::span<const Record> records,
                                    std::span<const std::string> pictures) {
  std::unordered_map<std::string_view, std::int64_t> place;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    place.emplace(pictures[i], static_cast<std::int64_t>(i));
  }
  std::vector<std::int64_t> places;
  for (const Record& record : records) places.push_back(place.at(record.image));
  return places;
}

LiveFeatures::LiveFeatures(std::span<const Record> records,
                           const std::vector<std::string>& pictures, StepEncoder encoder,
                           LiveFeatureOptions options)
    : place_of_item_(blip2::places_of(records, pictures)),
      pictures_(std::ssize(pictures)),
      encoder_(std::move(encoder)),
      options_(options),
      loader_(pictures, std::move(options.loader)) {}

std::vector<std::int64_t> LiveFeatures::places_of(std::span<const std::int64_t> items) const {
  std::vector<std::int64_t> places;
  for (const std::int64_t item : items) {
    places.push_back(place_of_item_.at(static_cast<std::size_t>(item)));
  }
  return places;
}

void LiveFeatures::prepare(std::span<const std::int64_t> items, std::int64_t step) {
  loader_.prepare(step, places_of(items));
}

void LiveFeatures::note_bad(std::int64_t place, const std::string& what) {
  if (!bad_.insert(place).second) return;
  log_warning("a picture cannot be read, another record takes its place: {}", what);
  if (static_cast<double>(bad_.size()) <= options_.bad_share * static_cast<double>(pictures_)) {
    return;
  }
  throw Error(fmt::format("more than {:g} % of the pictures cannot be read ({} of {} so far)",
                          100 * options_.bad_share, bad_.size(), pictures_),
              what, "mend them, or raise data.bad_share");
}

void LiveFeatures::load(std::span<const std::int64_t> places, std::int64_t step) {
  const Timed timed(waited_);
  present_ = Present{step, {places.begin(), places.end()}, loader_.take(step, places)};
}

std::vector<std::int64_t> LiveFeatures::readable(std::span<const std::int64_t> items,
                                                 std::int64_t step) {
  load(places_of(items), step);
  std::vector<std::int64_t> good, chosen;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (present_->loaded.is_bad(i)) {
      note_bad(present_->places[i], present_->loaded.failures[i]);
    } else {
      good.push_back(items[i]);
    }
  }
  if (good.empty()) {
    throw Error("no picture of the batch can be read", present_->loaded.failures.at(0));
  }
  std::size_t next = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    chosen.push_back(present_->loaded.is_bad(i) ? good[next++ % good.size()] : items[i]);
  }
  return chosen;
}

at::Tensor LiveFeatures::gather(std::span<const std::int64_t> places, std::int64_t step) {
  const auto row_of = [&](std::int64_t place) {
    const auto& all = present_->places;
    return std::find(all.begin(), all.end(), place) - all.begin();
  };
  const bool all_there =
      present_ && present_->step == step && std::ranges::all_of(places, [&](std::int64_t place) {
        return row_of(place) < std::ssize(present_->places);
      });
  if (!all_there) load(places, step);
  std::vector<std::int64_t> rows;
  for (const std::int64_t place : places) {
    rows.push_back(row_of(place));
    const auto row = static_cast<std::size_t>(rows.back());
    if (present_->loaded.is_bad(row)) throw Error(present_->loaded.failures[row]);
  }
  std::vector<std::uint64_t> seeds;
  for (const std::int64_t place : places) {
    if (step >= 0) seeds.push_back(derive_seed(options_.loader.seed, kPictureSeed, step, place));
  }
  const at::Tensor pixels = present_->loaded.pixels.index_select(0, torch::tensor(rows, at::kLong));
  return encoder_(pixels, seeds).to(options_.storage);
}

}  // namespace blip2
