#include "blip2/serving/writer_internal.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/nn/batch_invariant.h"

namespace blip2 {
namespace {

constexpr std::int64_t kCapacity = 256;  // tokens for which rows have room at first

template <typename Action>
double seconds_of(const Action& action) {
  const auto begin = EngineClock::now();
  action();
  return seconds_between(begin, EngineClock::now());
}

std::int64_t new_tokens(const Writing& job) {
  return job.ticket().text->options.max_new_tokens;
}

}  // namespace

Writer::Writer(const Models& models, std::int64_t prompt_part, Tally& tally)
    : models_(models),
      prompt_part_(prompt_part),
      vocabulary_(models.facts().vocabulary),
      tally_(tally) {}

std::int64_t Writer::rows() const {
  std::int64_t rows = 0;
  for (const Running& one : running_) rows += one.job->ticket().rows();
  for (const LongPrompt& one : long_) rows += one.running.job->ticket().rows();
  return rows;
}

void Writer::report_running() {
  std::int64_t rows = 0;
  for (const Running& one : running_) rows += static_cast<std::int64_t>(one.rows);
  tally_.change([&](EngineCounts& counts) {
    counts.jobs_running = std::ssize(running_) + std::ssize(long_);
    counts.rows_running = rows + std::ssize(long_);
  });
}

std::unique_ptr<Writing> Writer::start(const TicketPtr& ticket) {
  try {
    return std::make_unique<Writing>(ticket, model());
  } catch (const std::exception& error) {
    tally_.fail(*ticket, {JobFault::bad_request, error.what()});
    return nullptr;
  }
}

std::unique_ptr<LanguageSession> Writer::session_for(std::int64_t positions,
                                                     std::int64_t written) const {
  return model().language().make_session(positions, std::min(written, kCapacity));
}

void Writer::fail(const std::vector<Running>& jobs, const std::exception& error) {
  for (const Running& one : jobs) {
    tally_.fail(one.job->ticket(), {JobFault::failed, error.what()});
  }
}

void Writer::read(std::vector<TicketPtr> tickets) {
  std::vector<Running> jobs;
  std::vector<at::Tensor> inputs;
  for (const TicketPtr& ticket : tickets) {
    if (auto job = start(ticket)) jobs.push_back({std::move(job)});
  }
  try {
    batch_invariant_for(jobs.size(), [&](std::size_t i) { jobs[i].job->see_prompt(); });
    for (const Running& one : jobs) inputs.push_back(one.job->input());
  } catch (const std::exception& error) {
    return fail(jobs, error);
  }
  const bool in_parts = !std::holds_alternative<T5Config>(*model().config().language);
  std::vector<Running> whole;
  std::vector<at::Tensor> whole_inputs;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (in_parts && inputs[i].size(0) > prompt_part_) {
      auto session = session_for(inputs[i].size(0), new_tokens(*jobs[i].job));
      long_.push_back({std::move(jobs[i]), std::move(session), inputs[i]});
    } else {
      whole.push_back(std::move(jobs[i]));
      whole_inputs.push_back(inputs[i]);
    }
  }
  if (!whole.empty()) read_whole(std::move(whole), whole_inputs);
}

void Writer::read_whole(std::vector<Running> jobs, const std::vector<at::Tensor>& inputs) {
  std::vector<std::int64_t> offsets = {0};
  std::int64_t longest = 0, written = 0;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    jobs[i].row = i;
    longest = std::max(longest, inputs[i].size(0));
    written = std::max(written, new_tokens(*jobs[i].job));
    offsets.push_back(offsets.back() + inputs[i].size(0));
  }
  std::unique_ptr<LanguageSession> session;
  std::span<const float> logits;
  try {
    session = session_for(longest, written);
    logits = session->prompt(at::cat(inputs), offsets);
  } catch (const std::exception& error) {
    return fail(jobs, error);
  }
  join(*session, advance(std::move(jobs), logits));
}

bool Writer::read_part(LongPrompt& prompt) {
  const std::int64_t left = prompt.input.size(0) - prompt.read;
  // A part of one position would be computed in another order than within a longer part.
  const std::int64_t most = left == prompt_part_ + 1 ? prompt_part_ - 1 : prompt_part_;
  const std::int64_t offsets[] = {0, std::min(left, most)};
  const auto logits =
      prompt.session->prompt(prompt.input.narrow(0, prompt.read, offsets[1]), offsets);
  prompt.read += offsets[1];
  if (prompt.read < prompt.input.size(0)) return false;
  std::vector<Running> jobs;
  jobs.push_back(std::move(prompt.running));
  join(*prompt.session, advance(std::move(jobs), logits));
  return true;
}

void Writer::read_part() {
  if (long_.empty()) return;
  bool done = true;
  try {
    done = read_part(long_.front());
  } catch (const std::exception& error) {
    if (!long_.front().running.job) {  // it runs already
      long_.pop_front();
      throw;
    }
    tally_.fail(long_.front().running.job->ticket(), {JobFault::failed, error.what()});
  }
  if (done) long_.pop_front();
}

std::vector<Writer::Running> Writer::advance(std::vector<Running> jobs,
                                             std::span<const float> logits) {
  const auto width = static_cast<std::size_t>(vocabulary_);
  std::vector<std::string> failures(jobs.size());
  at::parallel_for(0, std::ssize(jobs), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      Running& one = jobs[i];
      try {
        one.job->advance(logits.subspan(one.row * width, one.rows * width));
      } catch (const std::exception& error) {
        failures[i] = error.what();
      }
    }
  });
  std::vector<Running> left;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const Ticket& ticket = jobs[i].job->ticket();
    try {
      if (!failures[i].empty()) throw Error(failures[i]);
      jobs[i].job->tell(tally_);
      if (!jobs[i].job->ended()) left.push_back(std::move(jobs[i]));
    } catch (const std::exception& error) {
      tally_.fail(ticket, {JobFault::failed, error.what()});
    }
  }
  return left;
}

void Writer::join(LanguageSession& session, std::vector<Running> jobs) {
  if (jobs.empty()) return;
  if (!session_) session_ = session_for(1, 1);  // rows bring their memory along
  std::vector<std::int32_t> kept;
  for (Running& one : jobs) {
    kept.push_back(static_cast<std::int32_t>(one.row));
    one.row = static_cast<std::size_t>(session_->rows()) + kept.size() - 1;
  }
  for (Running& one : jobs) running_.push_back(std::move(one));
  session.select(kept);
  session_->join(session);
}

void Writer::step() {
  if (running_.empty()) return;
  std::vector<std::int32_t> sources, tokens;
  for (Running& one : running_) {
    const std::size_t first = std::exchange(one.row, sources.size());
    one.rows = one.job->moves().size();
    for (const Search::Move& move : one.job->moves()) {
      sources.push_back(static_cast<std::int32_t>(first) + move.row);
      tokens.push_back(move.token);
    }
  }
  const double seconds = seconds_of([&] {
    session_->select(sources);
    const auto logits = session_->advance(tokens);
    running_ = advance(std::move(running_), logits);
  });
  if (running_.empty()) session_.reset();
  tally_.change([&](EngineCounts& counts) {
    counts.write_seconds += seconds;
    ++counts.steps;
    counts.step_rows += std::ssize(tokens);
  });
  report_running();
}

void Writer::drop_dead() {
  const auto now = EngineClock::now();
  std::erase_if(running_, [&](const Running& one) {
    const bool dead = one.job->ticket().dead(now);
    if (dead) tally_.drop(one.job->ticket());
    return dead;
  });
  std::erase_if(long_, [&](const LongPrompt& one) {
    const bool dead = one.running.job->ticket().dead(now);
    if (dead) tally_.drop(one.running.job->ticket());
    return dead;
  });
  if (running_.empty()) session_.reset();
  report_running();
}

void Writer::fail_all(const JobError& error) {
  for (const Running& one : running_) tally_.fail(one.job->ticket(), error);
  for (const LongPrompt& one : long_) tally_.fail(one.running.job->ticket(), error);
  running_.clear();
  long_.clear();
  session_.reset();
  report_running();
}

}  // namespace blip2
