#pragma once

#include <torch/torch.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blip2/qformer/text_rows.h"
#include "blip2/serving/job.h"
#include "blip2/serving/picture_cache_internal.h"

namespace blip2 {

using EngineClock = std::chrono::steady_clock;

inline double seconds_between(EngineClock::time_point from, EngineClock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// A picture of a job, ready for the encoder.
struct PreparedPicture {
  PictureCache::Key key;
  KnownPicture known;
  at::Tensor pixels;  // [3, H, W] f32; undefined if what is known is enough
  bool hit = false;   // it was known when the job came
};

// A job in the engine. One thread at a time works on it: the JobQueue hands it on.
struct Ticket {
  explicit Ticket(std::shared_ptr<Job> asked, std::chrono::milliseconds limit)
      : job(std::move(asked)),
        text(dynamic_cast<TextJob*>(job.get())),
        embedding(dynamic_cast<EmbeddingJob*>(job.get())),
        score(dynamic_cast<ScoreJob*>(job.get())),
        deadline(submitted + limit) {}

  const std::shared_ptr<Job> job;
  // The job as what it is; the others are nullptr.
  TextJob* const text;
  EmbeddingJob* const embedding;
  ScoreJob* const score;
  const EngineClock::time_point submitted = EngineClock::now(), deadline;

  // What the picture threads add.
  std::vector<PreparedPicture> pictures;
  std::vector<std::int64_t> tokens;  // of a text job's prompt
  std::vector<TextRows> texts;       // of the other jobs, some at a time
  std::optional<JobError> failure;

  std::int64_t picture_count() const;
  // Sequences that a text job writes side by side.
  std::int64_t rows() const;
  bool dead(EngineClock::time_point now) const { return job->cancelled() || now >= deadline; }
};
using TicketPtr = std::shared_ptr<Ticket>;

}  // namespace blip2
