#pragma once

#include <array>
#include <cstdint>

namespace blip2 {

// How many durations lie in each of some ranges. A plain value.
struct Histogram {
  static constexpr std::array<double, 14> kBounds = {0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5,
                                                     0.75, 1,     2,    5,   10,  30,  60};
  // Those of at most kBounds[i] seconds and more than the bound before; the last has no bound.
  std::array<std::int64_t, kBounds.size() + 1> counts{};
  double sum = 0;
  std::int64_t total = 0;

  void add(double seconds) {
    std::size_t i = 0;
    while (i < kBounds.size() && seconds > kBounds[i]) ++i;
    ++counts[i];
    ++total;
    sum += seconds;
  }
};

// What an Engine has done and is doing. A plain value.
struct EngineCounts {
  // Now.
  std::int64_t waiting = 0;  // jobs that were submitted and do not run yet
  std::int64_t pictures_waiting = 0, pictures_decoding = 0;
  std::int64_t jobs_running = 0, rows_running = 0;
  std::int64_t cache_bytes = 0, cache_pictures = 0;
  // Since the start. Jobs: every accepted one ends as one of the four.
  std::int64_t accepted = 0, refused = 0;
  std::int64_t done = 0, failed = 0, cancelled = 0, timed_out = 0;
  std::int64_t prompt_tokens = 0, written_tokens = 0;  // of text jobs that were done
  std::int64_t cache_hits = 0, cache_misses = 0;
  std::int64_t steps = 0, step_rows = 0;  // of writing, and the rows of all steps together
  double encode_seconds = 0, prompt_seconds = 0, write_seconds = 0, retrieval_seconds = 0;
  Histogram first_token;  // from submit() to the first token of a text job
  Histogram whole_job;    // from submit() to the end of jobs of any kind that were done
};

}  // namespace blip2
