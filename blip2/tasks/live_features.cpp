#include "blip2/tasks/live_features.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/base/random.h"
#include "blip2/base/scoped_timer.h"

namespace blip2 {
namespace {

// The stream of a step's randomness.
constexpr std::uint64_t kPictureSeed = 51;

}  // namespace

LiveFeatures::LiveFeatures(const std::vector<std::string>& pictures, StepEncoder encoder,
                           LiveFeatureOptions options)
    : pictures_(std::ssize(pictures)),
      encoder_(std::move(encoder)),
      options_(options),
      loader_(pictures, std::move(options.loader)) {}

void LiveFeatures::prepare(std::span<const std::int64_t> pictures, std::int64_t step) {
  loader_.prepare(step, pictures);
}

void LiveFeatures::note_bad(std::int64_t picture, const std::string& what) {
  if (!bad_.insert(picture).second) return;
  log_warning("a picture cannot be read, another record takes its place: {}", what);
  if (static_cast<double>(bad_.size()) <= options_.bad_share * static_cast<double>(pictures_)) {
    return;
  }
  throw Error(fmt::format("more than {:g} % of the pictures cannot be read ({} of {} so far)",
                          100 * options_.bad_share, bad_.size(), pictures_),
              what, "mend them, or raise data.bad_share");
}

void LiveFeatures::load(std::span<const std::int64_t> pictures, std::int64_t step) {
  const ScopedTimer timer(waited_);
  present_ = Present{step, {pictures.begin(), pictures.end()}, loader_.take(step, pictures)};
}

std::vector<std::size_t> LiveFeatures::readable(std::span<const std::int64_t> pictures,
                                                std::int64_t step) {
  load(pictures, step);
  std::vector<std::size_t> good, chosen;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    if (present_->loaded.is_bad(i)) {
      note_bad(pictures[i], present_->loaded.failures[i]);
    } else {
      good.push_back(i);
    }
  }
  if (good.empty()) {
    throw Error("no picture of the batch can be read", present_->loaded.failures.at(0));
  }
  std::size_t next = 0;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    chosen.push_back(present_->loaded.is_bad(i) ? good[next++ % good.size()] : i);
  }
  return chosen;
}

ImageFeatures LiveFeatures::gather(std::span<const std::int64_t> pictures, std::int64_t step) {
  const auto row_of = [&](std::int64_t picture) {
    const auto& all = present_->pictures;
    return std::find(all.begin(), all.end(), picture) - all.begin();
  };
  const bool all_there = present_ && present_->step == step &&
                         std::ranges::all_of(pictures, [&](std::int64_t picture) {
                           return row_of(picture) < std::ssize(present_->pictures);
                         });
  if (!all_there) load(pictures, step);
  std::vector<at::Tensor> pixels;
  for (const std::int64_t picture : pictures) {
    const auto row = static_cast<std::size_t>(row_of(picture));
    if (present_->loaded.is_bad(row)) throw Error(present_->loaded.failures[row]);
    pixels.push_back(present_->loaded.pixels[row]);
  }
  std::vector<std::uint64_t> seeds;
  for (const std::int64_t picture : pictures) {
    if (step >= 0) seeds.push_back(derive_seed(options_.loader.seed, kPictureSeed, step, picture));
  }
  const auto encode = [&](const at::Tensor& some, std::size_t first) {
    const auto count = static_cast<std::size_t>(some.size(0));
    const std::span all(seeds);
    return encoder_(some, all.empty() ? all : all.subspan(first, count)).to(options_.storage);
  };
  return encode_pictures(pixels, encode);
}

}  // namespace blip2
