#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "blip2/base/progress.h"

namespace blip2 {

// Progress of weights that are converted while they are loaded, in MiB; silent for models that load
// at once. Weights that stay in the mapped file are not counted, as they take no time.
class LoadProgress {
 public:
  LoadProgress(const std::string& label, std::uint64_t bytes) {
    constexpr std::uint64_t kShown = 1u << 30;
    if (bytes >= kShown) progress_.emplace(label + ", MiB", static_cast<std::int64_t>(bytes >> 20));
  }
  void add(std::uint64_t bytes) {
    done_ += bytes;
    if (progress_) progress_->update(static_cast<std::int64_t>(done_ >> 20));
  }
  void finish() {
    if (progress_) progress_->finish();
  }

 private:
  std::optional<Progress> progress_;
  std::uint64_t done_ = 0;
};

}  // namespace blip2
