#include "blip2/training/trainer.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <deque>
#include <nlohmann/json.hpp>
#include <utility>

#include "blip2/base/allocation.h"
#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/log.h"
#include "blip2/base/progress.h"
#include "blip2/data/sampler.h"
#include "blip2/io/fields.h"
#include "blip2/nn/step_memory.h"
#include "blip2/optimiser/gradient_sum.h"
#include "blip2/optimiser/schedule.h"
#include "blip2/processes/ranks.h"
#include "blip2/tasks/meters.h"
#include "blip2/training/checkpoint_internal.h"
#include "blip2/training/event_file_internal.h"
#include "blip2/training/run_folder_internal.h"
#include "blip2/training/run_report_internal.h"
#include "blip2/training/training_setup_internal.h"

namespace blip2 {
namespace {

constexpr std::int64_t kMaxSkippedInARow = 5;

using Clock = std::chrono::steady_clock;
using nlohmann::json;
using nlohmann::ordered_json;

// The keys in which two recipes differ, "steps: 100 -> 200".
std::string difference(const json& before, const json& now) {
  std::string text;
  const json was = before.flatten(), is = now.flatten();
  for (const auto& [key, value] : is.items()) {
    const json old = was.value(key, json());
    if (old != value)
      text += fmt::format("{}{}: {} -> {}", text.empty() ? "" : ", ", key.substr(1), old.dump(),
                          value.dump());
  }
  return text;
}

Recipe with_cache(Recipe recipe, const std::filesystem::path& output) {
  recipe.data.cache = feature_cache_folder(recipe, output);
  return recipe;
}

class Trainer {
 public:
  Trainer(const Recipe& recipe, const TrainOptions& options)
      : recipe_(recipe),
        options_(options),
        ranks_(join_ranks(options.timeout)),
        folder_(open_folder()),
        setup_(open_training(with_cache(recipe, options.output), ranks_.get())),
        optimizer_(make_optimizer(setup_, recipe)),
        sampler_(setup_.train.sources, sampler_options(recipe, setup_.train.pictures)) {
    if (!ranks_) return;
    samples_at_once(recipe, ranks_->size());
    require_agreement();
    gradient_sum_.emplace(*ranks_, optimizer_.parameters());
  }

  // Whether this is the process that writes.
  bool writes() const { return folder_.has_value(); }

  void run() {
    std::int64_t step = restore();
    std::optional<Progress> progress;
    if (folder_) {
      folder_->keep();
      write_recipe();
      if (recipe_.log.tensorboard || options_.tensorboard) {
        const auto kept = options_.resume ? std::optional(step) : std::nullopt;
        events_.emplace(folder_->path(), kept);
      }
      progress.emplace(fmt::format("stage {}", recipe_.stage), recipe_.steps, step);
    }
    for (; step < recipe_.steps; ++step) {
      take_step(step);
      if (progress) progress->update(step + 1, fmt::format("loss {:.4f}", last_loss_));
      const bool last = step + 1 == recipe_.steps;
      if ((step + 1) % recipe_.checkpoint.every == 0 || last) {
        validate(step + 1);
        save(step + 1);
      }
      if (stopping_ && !last) {
        if ((step + 1) % recipe_.checkpoint.every != 0) save(step + 1);
        log_info("stopped after step {}; go on with --resume", step + 1);
        throw Interrupted{};
      }
    }
    if (progress) progress->finish(fmt::format("loss {:.4f}", last_loss_));
    finish();
  }

 private:
  // The run's folder, which one process writes.
  std::optional<RunFolder> open_folder() const {
    if (ranks_ && ranks_->rank() > 0) return std::nullopt;
    return std::optional<RunFolder>(std::in_place, options_.output, options_.resume);
  }

  // All processes must run the same recipe on the same data and frozen parts.
  void require_agreement() const {
    json own = write_value(recipe_);
    own["data"].erase("cache");
    own["frozen"] = setup_.frozen_hash;
    own["records"] = setup_.train.records.size();
    ranks_->wait();  // some may have had more features to compute than others
    const auto all = ranks_->all_gather_text(own.dump());
    for (int rank = 1; rank < ranks_->size(); ++rank) {
      const std::string changed = difference(json::parse(all[0]), json::parse(all[rank]));
      if (changed.empty()) continue;
      throw Error(fmt::format("rank {} runs with other settings than rank 0: {}", rank, changed),
                  options_.output.string(), "give all processes the same recipe, data and model");
    }
  }

  // This process's share of a batch of all.
  std::vector<std::int64_t> own_share(const std::vector<std::int64_t>& items) const {
    if (!ranks_) return items;
    const auto count = std::ssize(items) / ranks_->size();
    const auto first = items.begin() + ranks_->rank() * count;
    return {first, first + count};
  }

  json state() const {
    json state{{"recipe", write_value(recipe_)}, {"frozen", setup_.frozen_hash}};
    if (best_step_) state.update({{"best_step", *best_step_}, {"best_loss", best_loss_}});
    return state;
  }

  void write_recipe() const {
    write_file(folder_->path() / "recipe.json", write_value(recipe_).dump(2) + "\n");
  }

  // The step to go on with, which rank 0 finds; all start from its weights.
  std::int64_t restore() {
    const std::int64_t step = folder_ ? restore_from_folder() : 0;
    if (!ranks_) return step;
    for (const auto& [name, value] : optimizer_.parameters()) ranks_->broadcast(value);
    for (const auto& [name, value] : optimizer_.state()) ranks_->broadcast(value);
    return std::stoll(ranks_->all_gather_text(std::to_string(step)).front());
  }

  // The step after the newest whole checkpoint, or the first.
  std::int64_t restore_from_folder() {
    const auto found = options_.resume ? newest_checkpoint(folder_->checkpoints()) : std::nullopt;
    if (!found) {
      if (options_.resume)
        log_info("no checkpoint in {}; starting at step 0", folder_->path().string());
      folder_->rewind_log(-1);
      return 0;
    }
    check_unchanged(found->state, found->folder);
    load_weights(found->folder);
    restore_tensors(open_tensor_file(found->folder / "optimizer.safetensors"), optimizer_.state());
    if (found->state.contains("best_step")) {
      best_step_ = found->state["best_step"].get<std::int64_t>();
      best_loss_ = found->state["best_loss"].get<double>();
    }
    folder_->rewind_log(found->step);
    log_info("resuming after step {} of {}", found->step, recipe_.steps);
    return found->step;
  }

  void check_unchanged(const json& state, const std::filesystem::path& where) const {
    json before = state.value("recipe", json::object()), now = write_value(recipe_);
    for (json* recipe : {&before, &now}) recipe->erase("log");  // changes nothing that is learnt
    std::string changed = difference(before, now);
    if (state.value("frozen", "") != setup_.frozen_hash) {
      changed += std::string(changed.empty() ? "" : ", ") + "the frozen parts' weights";
    }
    if (changed.empty()) return;
    if (!options_.allow_changed) {
      throw Error("the run was started with other settings: " + changed, where.string(),
                  "--allow-changed goes on all the same");
    }
    log_warning("going on with changed settings: {}", changed);
  }

  void load_weights(const std::filesystem::path& checkpoint) {
    restore_tensors(open_tensor_file(checkpoint / "weights.safetensors"), optimizer_.parameters());
  }

  // The step's items. Their pictures or features are read ahead, in the sampler's order.
  std::vector<std::int64_t> next_items(std::int64_t step) {
    for (auto s = step + std::ssize(upcoming_); s <= step + kStepsAhead; ++s) {
      upcoming_.push_back(own_share(sampler_.batch(s)));
      setup_.train.read_ahead(upcoming_.back(), setup_.task->data_seed(), s);
    }
    const std::vector<std::int64_t> items = std::move(upcoming_.front());
    upcoming_.pop_front();
    return setup_.train.readable(items, step);
  }

  void take_step(std::int64_t step) {
    const auto items = next_items(step);
    const MeanMeters result = compute_gradients(items, step);
    const double lr = learning_rate(recipe_, step);
    last_loss_ = result.loss();
    const double norm = update(std::isfinite(last_loss_) ? lr : 0.0);
    if (!std::isfinite(norm) || !std::isfinite(last_loss_)) return skip(step, items);
    skipped_ = 0;
    since_log_ += recipe_.batch_size;
    if ((step + 1) % recipe_.log_every == 0 || step == 0) log_step(step, lr, norm, result);
  }

  // The gradients of a batch, computed in as many parts as the recipe says, summed over the
  // processes.
  MeanMeters compute_gradients(std::span<const std::int64_t> items, std::int64_t step) {
    MeanMeters meters;
    const auto part = items.size() / static_cast<std::size_t>(recipe_.accumulate);
    for (std::int64_t i = 0; i < recipe_.accumulate; ++i) {
      if (gradient_sum_ && i + 1 == recipe_.accumulate) gradient_sum_->arm();
      const TaskLoss result =
          training_loss(setup_, items.subspan(static_cast<std::size_t>(i) * part, part), step, i);
      (recipe_.accumulate == 1 ? result.loss : result.loss / recipe_.accumulate).backward();
      // A share's loss times the number of processes, so that the mean over processes is the loss.
      meters.add(result.loss.item<double>() * (ranks_ ? ranks_->size() : 1), result.meters);
    }
    if (gradient_sum_) gradient_sum_->finish();
    stopping_ = interrupted();
    if (ranks_) stopping_ = meters.exchange(*ranks_, stopping_);
    return meters;
  }

  // Returns the gradient's norm.
  double update(double lr) {
    if (!gradient_sum_) return optimizer_.step(lr);
    const double norm =
        optimizer_.step(lr, [this](double own) { return gradient_sum_->total(own); });
    gradient_sum_->all_gather_parameters();
    return norm;
  }

  void skip(std::int64_t step, const std::vector<std::int64_t>& items) {
    const Record& first = setup_.train.records[static_cast<std::size_t>(items.front())];
    log_warning("step {}: the loss or its gradient is not finite; step skipped (batch of {})",
                step + 1, first.image);
    if (++skipped_ < kMaxSkippedInARow) return;
    throw Error(fmt::format("{} steps in a row without a finite loss", skipped_),
                options_.output.string(), "lower optimizer.lr, or use precision = \"f32\"");
  }

  void log_step(std::int64_t step, double lr, double norm, const MeanMeters& result) {
    const double seconds = std::chrono::duration<double>(Clock::now() - log_time_).count();
    ordered_json line{
        {"step", step + 1}, {"epoch", sampler_.epoch(step + 1)}, {"lr", lr}, {"loss", last_loss_}};
    for (const auto& [name, value] : result.means()) line[name] = value;
    line["grad_norm"] = norm;
    line["samples_per_second"] = static_cast<double>(since_log_) / seconds;
    line["data_share"] = (setup_.train.waited() - waited_before_) / seconds;
    emit(line);
    restart_rates();
  }

  void restart_rates() {
    log_time_ = Clock::now();
    since_log_ = 0;
    waited_before_ = setup_.train.waited();
  }

  void emit(const ordered_json& line) {
    if (!folder_) return;
    folder_->append_log(line);
    if (events_) events_->add(line);
    if (options_.json) {
      std::puts(line.dump().c_str());
      std::fflush(stdout);
    }
  }

  void validate(std::int64_t step) {
    MeanMeters result = validation_loss(*setup_.task, setup_.validation, recipe_, ranks_.get());
    if (ranks_) result.exchange(*ranks_, false);
    if (result.empty()) return;
    const double loss = result.loss();
    ordered_json line{{"step", step}, {"validation_loss", loss}};
    for (const auto& [name, value] : result.means()) line["validation_" + name] = value;
    emit(line);
    if (folder_) log_info("step {}: validation loss {:.4f}", step, loss);
    if (!best_step_ || loss < best_loss_) {
      best_step_ = step;
      best_loss_ = loss;
    }
  }

  void save(std::int64_t step) {
    if (gradient_sum_) gradient_sum_->all_gather_state(optimizer_.state(), AdamW::kStates);
    if (folder_) {
      StepMemory::give_back();  // the files written are mapped to be verified
      give_back_memory();
      save_checkpoint(folder_->checkpoints(), step, optimizer_.parameters(), optimizer_.state(),
                      state());
      prune_checkpoints(folder_->checkpoints(), recipe_.checkpoint.keep, best_step_);
    }
    if (ranks_) ranks_->barrier();
    restart_rates();
  }

  void finish() {
    if (folder_) write_model();
    if (ranks_) ranks_->barrier();
  }

  void write_model() {
    if (best_step_ && *best_step_ != recipe_.steps) {
      log_info("taking the weights of step {}, the best on validation", *best_step_);
      load_weights(folder_->checkpoints() / checkpoint_name(*best_step_));
    }
    export_model(setup_, recipe_, folder_->path());
    log_info("model written to {}", folder_->path().string());
  }

  Recipe recipe_;
  TrainOptions options_;
  std::unique_ptr<Ranks> ranks_;     // none: this process is alone
  std::optional<RunFolder> folder_;  // of the process that writes
  TrainingSetup setup_;
  AdamW optimizer_;
  Sampler sampler_;
  std::optional<GradientSum> gradient_sum_;
  bool stopping_ = false;
  std::optional<EventFile> events_;
  std::deque<std::vector<std::int64_t>> upcoming_;  // of the present step and those read ahead
  std::optional<std::int64_t> best_step_;
  double best_loss_ = 0, last_loss_ = 0, waited_before_ = 0;
  std::int64_t skipped_ = 0, since_log_ = 0;
  Clock::time_point log_time_ = Clock::now();
};

}  // namespace

void train(const Recipe& recipe, const TrainOptions& options) {
  const Clock::time_point start = Clock::now();
  if (recipe.image_encoder.checkpointing) give_back_blocks();
  Trainer trainer(recipe, options);
  {
    std::optional<StepMemory> memory;
    if (!recipe.image_encoder.checkpointing) memory.emplace();
    trainer.run();
  }
  if (!trainer.writes()) return;
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  try {
    write_run_report(recipe, options.output, seconds);
  } catch (const Error& error) {  // the model is there all the same
    log_warning("no report of the run: {}", error.what());
  }
}

}  // namespace blip2
