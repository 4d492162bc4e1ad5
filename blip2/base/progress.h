#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace blip2 {

// Progress of a long task on standard error: a bar redrawn in place on a terminal, otherwise a
// plain line at most every few seconds. "label 120/600 20% 3.1/s 2:35 left loss 1.23".
class Progress {
 public:
  Progress(std::string label, std::int64_t total, std::int64_t done = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(std::int64_t done, const std::string& note = {});
  // Shows the last state as a plain line. update() must not be called after it.
  void finish(const std::string& note = {});

 private:
  using Clock = std::chrono::steady_clock;
  std::string describe(const std::string& note) const;
  std::string label_;
  std::int64_t total_, started_at_, done_;
  Clock::time_point start_, last_shown_;
  bool terminal_, finished_ = false;
};

// "2:35" or "1:02:35" for a number of seconds.
std::string format_duration(double seconds);

}  // namespace blip2
