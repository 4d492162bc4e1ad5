#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>

#include "blip2/base/log.h"
#include "blip2/serving/counts.h"
#include "blip2/serving/ticket_internal.h"

namespace blip2 {

// Runs what a job's owner gave; whatever it throws is logged and reaches nothing else.
template <typename Action>
void call_owner(const Action& action) {
  try {
    action();
  } catch (const std::exception& error) {
    log_warning("a callback of a job failed: {}", error.what());
  } catch (...) {
    log_warning("a callback of a job failed");
  }
}

// The engine's counts, and how jobs end. Any thread may call its functions.
class Tally {
 public:
  template <typename Change>
  void change(const Change& change) {
    const std::lock_guard lock(mutex_);
    change(counts_);
  }
  EngineCounts counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

  // Counts a job that the queue did not take after all as refused instead of accepted.
  void refuse();
  // Ends a job: tells its owner, then counts it.
  void fail(const Ticket& ticket, const JobError& error);
  // Ends a cancelled or late one.
  void drop(const Ticket& ticket);
  // Ends one that was done; `tell` tells the owner.
  void finish(const Ticket& ticket, const std::function<void()>& tell);

  // Returns once every accepted job has ended; false: not within the limit.
  bool wait_for_all(std::chrono::milliseconds limit);

 private:
  void end(std::int64_t EngineCounts::*kind);

  mutable std::mutex mutex_;
  std::condition_variable ended_;
  EngineCounts counts_;
};

}  // namespace blip2
