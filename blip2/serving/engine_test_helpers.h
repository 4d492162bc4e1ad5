#pragma once
// For this room's tests: jobs with their answers.

#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "blip2/serving/engine.h"

namespace blip2 {

// That anything may take, whatever else the machine is doing.
inline constexpr std::chrono::minutes kLong{10};

// How a text job ended, and the pieces of its answers before.
struct Ended {
  std::optional<TextResult> result;
  std::optional<JobError> error;
  std::map<std::int64_t, std::string> pieces;               // by choice
  std::map<std::int64_t, std::vector<ScoredToken>> tokens;  // by choice
};

// A text job whose end can be waited for.
class Asked {
 public:
  Asked(std::string picture, Prompt prompt, GenerationOptions options)
      : job_(std::make_shared<TextJob>()), state_(std::make_shared<State>()) {
    job_->picture.bytes = std::move(picture);
    job_->prompt = std::move(prompt);
    job_->options = std::move(options);
    job_->on_text = [state = state_](const TextPiece& piece) {
      state->ended.pieces[piece.choice] += piece.text;
      auto& tokens = state->ended.tokens[piece.choice];
      tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
    };
    job_->on_done = [state = state_](TextResult result) {
      state->ended.result = std::move(result);
      state->done.set_value();
    };
    job_->on_error = [state = state_](const JobError& error) {
      state->ended.error = error;
      state->done.set_value();
    };
  }

  const std::shared_ptr<TextJob>& job() const { return job_; }
  // Nothing within `limit` leaves everything empty.
  Ended wait(std::chrono::milliseconds limit = kLong) const {
    if (future_.wait_for(limit) != std::future_status::ready) return {};
    return state_->ended;
  }

 private:
  struct State {
    Ended ended;
    std::promise<void> done;
  };
  std::shared_ptr<TextJob> job_;
  std::shared_ptr<State> state_;
  std::shared_future<void> future_ = state_->done.get_future().share();
};

// The counts once nothing runs any more; a job's end is told just before.
inline EngineCounts counts_at_rest(const Engine& engine) {
  EngineCounts counts = engine.counts();
  const auto end = std::chrono::steady_clock::now() + kLong;
  while (counts.jobs_running > 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    counts = engine.counts();
  }
  return counts;
}

// Submits a vector or score job and waits for its end.
template <typename AnyJob>
struct Outcome {
  std::optional<typename AnyJob::Result> result;
  std::optional<JobError> error;
};
template <typename AnyJob>
Outcome<AnyJob> run_job(Engine& engine, const std::shared_ptr<AnyJob>& job) {
  Outcome<AnyJob> outcome;
  std::promise<void> done;
  job->on_done = [&](typename AnyJob::Result result) {
    outcome.result = std::move(result);
    done.set_value();
  };
  job->on_error = [&](const JobError& error) {
    outcome.error = error;
    done.set_value();
  };
  if (engine.submit(job)) done.get_future().wait();
  return outcome;
}

}  // namespace blip2
