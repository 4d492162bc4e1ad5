#include "blip2/serving/engine.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <future>
#include <thread>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/serving/job_queue_internal.h"
#include "blip2/serving/preparation_internal.h"
#include "blip2/serving/retrieval_task_internal.h"
#include "blip2/serving/writer_internal.h"

namespace blip2 {
namespace {

// Most jobs whose pictures and prompts share a pass, between two tokens of those that run: more
// take less time each, but all wait for the last one.
constexpr std::size_t kReadTogether = 4;

EngineOptions checked(EngineOptions options) {
  const auto at_least = [](std::int64_t value, std::int64_t least, const char* name) {
    need(value >= least, std::string(name) + ": expected at least " + std::to_string(least),
         "engine options");
  };
  at_least(options.max_batch, 1, "max_batch");
  at_least(options.max_queue, 1, "max_queue");
  at_least(options.max_positions, 1, "max_positions");
  at_least(options.prompt_part, 8, "prompt_part");
  at_least(options.picture_threads, 1, "picture_threads");
  at_least(options.max_picture_pixels, 1, "max_picture_pixels");
  at_least(options.max_items, 1, "max_items");
  at_least(options.max_pairs, 1, "max_pairs");
  at_least(options.cache_bytes, 0, "cache_bytes");
  at_least(options.job_timeout.count(), 1, "job_timeout");
  return options;
}

// Loads on a thread that ends, and with it its team of OpenMP's threads: beside a second team, the
// model's would sleep and wake at every layer instead of waiting a moment, as there would be more
// of them than processors.
Models load(const std::filesystem::path& folder, const EngineOptions& options) {
  const int threads = at::get_num_threads();
  return std::async(std::launch::async,
                    [&] {
                      at::set_num_threads(threads);
                      return Models(folder, options);
                    })
      .get();
}

bool is_text(const Ticket& ticket) {
  return ticket.text != nullptr;
}

}  // namespace

class Engine::Impl {
 public:
  Impl(const std::filesystem::path& folder, EngineOptions options)
      : options_(checked(std::move(options))),
        models_(load(folder, options_)),
        cache_(options_.cache_bytes),
        preparation_(models_, cache_, options_, tally_),
        queue_(static_cast<std::size_t>(options_.max_queue),
               static_cast<std::size_t>(options_.max_batch + options_.picture_threads)),
        writer_(models_, options_.prompt_part, tally_),
        threads_(at::get_num_threads()) {
    try {
      for (std::int64_t i = 0; i < options_.picture_threads; ++i) {
        picture_threads_.emplace_back([this] { prepare_jobs(); });
      }
      model_thread_ = std::jthread([this] { run(); });
    } catch (...) {
      queue_.stop();
      throw;
    }
  }
  ~Impl() { stop(); }

  bool submit(std::shared_ptr<Job> job) {
    const auto ticket = std::make_shared<Ticket>(std::move(job), options_.job_timeout);
    TORCH_CHECK(ticket->text || ticket->embedding || ticket->score, "a job of no known kind");
    tally_.change([](EngineCounts& counts) { ++counts.accepted; });
    if (queue_.add(ticket)) return true;
    tally_.refuse();
    return false;
  }

  bool drain(std::chrono::milliseconds limit) {
    queue_.close();
    return tally_.wait_for_all(limit);
  }

  void stop() {
    queue_.stop();
    const std::lock_guard lock(stopping_);
    if (model_thread_.joinable()) model_thread_.join();
    picture_threads_.clear();
  }

  EngineCounts counts() const {
    EngineCounts counts = tally_.counts();
    const JobQueue::Counts waiting = queue_.counts();
    counts.waiting = static_cast<std::int64_t>(waiting.jobs);
    counts.pictures_waiting = static_cast<std::int64_t>(waiting.pictures_waiting);
    counts.pictures_decoding = static_cast<std::int64_t>(waiting.pictures_decoding);
    counts.cache_bytes = cache_.bytes();
    counts.cache_pictures = cache_.pictures();
    return counts;
  }

  const Models& models() const { return models_; }
  const Tokenizer& tokenizer() const {
    need(models_.writing().has_value(), "the model has no language model", "tokens");
    return models_.writing()->tokenizer();
  }
  bool draining() const { return queue_.closed(); }

 private:
  void prepare_jobs() {
    while (const TicketPtr ticket = queue_.next_to_prepare()) {
      preparation_.prepare(*ticket);
      queue_.prepared(*ticket);
    }
  }

  void run() {
    at::set_num_threads(threads_);
    const at::InferenceMode inference;
    while (!queue_.stopped()) {
      if (writer_.idle() && !task_) queue_.wait();
      try {
        turn();
      } catch (const std::exception& error) {  // of a step that all running jobs share
        writer_.fail_all({JobFault::failed, error.what()});
      }
    }
    const JobError stopped{JobFault::stopped, "the service stops"};
    writer_.fail_all(stopped);
    if (task_) tally_.fail(*task_->ticket(), stopped);
    task_.reset();
    for (const TicketPtr& ticket : queue_.take_all()) tally_.fail(*ticket, stopped);
  }

  // Some of everything that there is to do.
  void turn() {
    for (const TicketPtr& ticket : queue_.take_dead()) tally_.drop(*ticket);
    writer_.drop_dead();
    read_jobs();
    writer_.step();
    retrieve();
  }

  void read_jobs() {
    timed(&EngineCounts::prompt_seconds, [&] { writer_.read_part(); });
    const std::vector<TicketPtr> tickets = next_texts();
    if (!tickets.empty()) read(tickets);
  }

  // Text jobs that can begin now.
  std::vector<TicketPtr> next_texts() {
    std::vector<TicketPtr> tickets;
    std::int64_t rows = writer_.rows();
    while (tickets.size() < kReadTogether) {
      TicketPtr ticket = queue_.take(is_text, [&](const Ticket& next) {
        return next.failure || rows + next.rows() <= options_.max_batch;
      });
      if (!ticket) break;
      if (ended_early(*ticket)) continue;
      rows += ticket->rows();
      tickets.push_back(std::move(ticket));
    }
    return tickets;
  }

  bool ended_early(const Ticket& ticket) {
    if (ticket.dead(EngineClock::now())) {
      tally_.drop(ticket);
    } else if (ticket.failure) {
      tally_.fail(ticket, *ticket.failure);
    } else {
      return false;
    }
    return true;
  }

  void read(const std::vector<TicketPtr>& tickets) {
    try {
      std::vector<PreparedPicture*> pictures;
      for (const TicketPtr& ticket : tickets) pictures.push_back(&ticket->pictures.front());
      timed(&EngineCounts::encode_seconds, [&] { models_.see(pictures, true, cache_); });
    } catch (const std::exception& error) {
      for (const TicketPtr& ticket : tickets) {
        tally_.fail(*ticket, {JobFault::failed, error.what()});
      }
      return;
    }
    timed(&EngineCounts::prompt_seconds, [&] { writer_.read(tickets); });
  }

  void retrieve() {
    if (!task_) {
      const auto any = [](const Ticket&) { return true; };
      const TicketPtr ticket = queue_.take([](const Ticket& next) { return !is_text(next); }, any);
      if (!ticket || ended_early(*ticket)) return;
      task_ = std::make_unique<RetrievalTask>(ticket, models_, cache_);
    }
    if (task_->ticket()->dead(EngineClock::now())) {
      tally_.drop(*std::exchange(task_, nullptr)->ticket());
      return;
    }
    try {
      bool all = false;
      timed(&EngineCounts::retrieval_seconds, [&] { all = task_->step(); });
      if (all) std::exchange(task_, nullptr)->tell(tally_);
    } catch (const std::exception& error) {
      tally_.fail(*std::exchange(task_, nullptr)->ticket(), {JobFault::failed, error.what()});
    }
  }

  template <typename Action>
  void timed(double EngineCounts::*seconds, const Action& action) {
    const auto begin = EngineClock::now();
    action();
    const double taken = seconds_between(begin, EngineClock::now());
    tally_.change([&](EngineCounts& counts) { counts.*seconds += taken; });
  }

  const EngineOptions options_;
  Tally tally_;
  const Models models_;
  PictureCache cache_;
  const Preparation preparation_;
  JobQueue queue_;
  Writer writer_;
  std::unique_ptr<RetrievalTask> task_;
  const int threads_;
  std::mutex stopping_;
  std::vector<std::jthread> picture_threads_;
  std::jthread model_thread_;
};

Engine::Engine(const std::filesystem::path& folder, EngineOptions options)
    : impl_(std::make_unique<Impl>(folder, std::move(options))) {}
Engine::~Engine() = default;

const EngineFacts& Engine::facts() const {
  return impl_->models().facts();
}
bool Engine::submit(std::shared_ptr<Job> job) {
  return impl_->submit(std::move(job));
}
bool Engine::drain(std::chrono::milliseconds limit) {
  return impl_->drain(limit);
}
bool Engine::draining() const {
  return impl_->draining();
}
void Engine::stop() {
  impl_->stop();
}
EngineCounts Engine::counts() const {
  return impl_->counts();
}

std::vector<std::int32_t> Engine::tokenize(const Prompt& text, bool add_special_tokens) const {
  return text.encode(impl_->tokenizer(), add_special_tokens);
}
std::string Engine::detokenize(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  return impl_->tokenizer().decode(ids, skip_special_tokens);
}
std::string Engine::piece(std::int32_t id) const {
  return impl_->tokenizer().piece(id);
}

}  // namespace blip2
