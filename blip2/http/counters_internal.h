#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "blip2/http/server.h"

namespace blip2 {

// The server's counts. Any thread may call it.
class Counters {
 public:
  template <typename Change>
  void update(const Change& change) {
    const std::lock_guard lock(mutex_);
    change(counts_);
    if (counts_.running == 0) idle_.notify_all();
  }
  HttpCounts read() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }
  // Waits until no request runs, but at most so long.
  void wait_until_idle(std::chrono::duration<double> limit) {
    std::unique_lock lock(mutex_);
    idle_.wait_for(lock, limit, [this] { return counts_.running == 0; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  HttpCounts counts_;
};

}  // namespace blip2
