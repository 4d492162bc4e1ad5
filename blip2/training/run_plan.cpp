#include "blip2/training/run_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/model/config.h"
#include "blip2/training/plan_data.h"
#include "blip2/training/plan_step.h"
#include "blip2/training/session.h"
#include "blip2/training/task.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

constexpr double kFloatBytes = 4;
// Measured on Debian 12 (glibc 2.36, LibTorch 2.13 on the CPU): the program, its libraries and the
// kernels that oneDNN compiles.
constexpr double kProgramBytes = 205e6;
// What the allocator holds beside the Q-Former's and a trained image encoder's activations and the
// losses, as a share of them:
// blocks of changing sizes leave gaps. The language model's memory is one block, lent out again.
constexpr double kSlack = 0.4;
// The share of a step's memory that the allocator still holds when a checkpoint is written.
constexpr double kRetained = 0.86;

double sum(const std::vector<RunPlan::Bytes>& items) {
  double total = 0;
  for (const auto& item : items) total += item.bytes;
  return total;
}

// What all of the run's steps looked at cost on average, and at most in memory.
struct Steps {
  StepCost mean;
  double activations = 0;
  StepCost largest;
};

void add_scaled(Flops& sum, const Flops& part, double share) {
  sum += {part.forward * share, part.backward * share};
}

Steps measure_steps(const StepModel& model, const PlannedData& data) {
  Steps steps;
  const double share = 1 / static_cast<double>(data.steps.size());
  for (const StepTexts& texts : data.steps) {
    const StepCost cost = step_cost(model, texts);
    for (const auto part :
         {&StepCost::image_keys, &StepCost::qformer, &StepCost::heads, &StepCost::projection,
          &StepCost::language, &StepCost::words, &StepCost::encoder}) {
      add_scaled(steps.mean.*part, cost.*part, share);
    }
    steps.mean.qformer_tokens += share * cost.qformer_tokens;
    steps.mean.language_tokens += share * cost.language_tokens;
    if (cost.activation_bytes() < steps.activations) continue;
    steps.activations = cost.activation_bytes();
    steps.largest = cost;
  }
  return steps;
}

class Planner {
 public:
  Planner(const Recipe& recipe, std::optional<std::int64_t> records)
      : recipe_(recipe),
        initial_(read_blip2_config(std::filesystem::path(recipe.init) / "config.json")) {
    require_parts(initial_, recipe);
    if (recipe.stage == 2 && !std::holds_alternative<DecoderConfig>(*initial_.language)) {
      throw Error("there is no plan for an encoder-decoder yet", recipe.init,
                  "train without --plan and --dry-run");
    }
    config_ = trained_config(initial_, recipe);
    data_ = records ? assume_data(recipe, *records) : scan_data(recipe, config_);
    encoder_ = encoder_size(config_.vision);
    bridge_ = bridge_size(config_, recipe);
    if (const auto* decoder = decoder_config()) language_ = language_size(*decoder);
    if (records && recipe.objectives.words > 0) {
      data_.word_targets = std::min<std::int64_t>(*records, vocabulary_of(*config_.language));
    }
    steps_ = measure_steps({config_, recipe_, encoder_, data_.word_targets}, data_);
  }

  RunPlan plan() const {
    RunPlan plan;
    add_parts(plan);
    add_memory(plan);
    add_work(plan);
    add_disk(plan);
    plan.samples_per_step = recipe_.batch_size;
    plan.samples = recipe_.batch_size * recipe_.steps;
    plan.qformer_tokens_per_step = steps_.mean.qformer_tokens;
    plan.language_tokens_per_step = steps_.mean.language_tokens;
    plan.steps = recipe_.steps;
    plan.records = data_.records;
    plan.validation_records = data_.validation_records;
    plan.pictures = data_.pictures;
    plan.feature_rows = data_.rows;
    plan.epochs = data_.epochs;
    plan.feature_flops = static_cast<double>(data_.rows) * encoder_.flops;
    return plan;
  }

 private:
  // Null without a decoder-only language model.
  const DecoderConfig* decoder_config() const {
    return config_.language ? std::get_if<DecoderConfig>(&*config_.language) : nullptr;
  }
  double type_bytes() const { return static_cast<double>(c10::elementSize(compute_type(recipe_))); }

  void add_parts(RunPlan& plan) const {
    plan.parts = {{"image encoder", encoder_trained(), encoder_.parameters - encoder_trained()},
                  {"norm of image features", bridge_.norm.trained, 0},
                  {"queries", bridge_.queries.trained, 0},
                  {"Q-Former", bridge_.qformer.trained, bridge_.qformer.frozen},
                  {"heads", bridge_.heads.trained, bridge_.heads.frozen},
                  {"language projection", bridge_.projection.trained, bridge_.projection.frozen},
                  {"language model", 0, language_.parameters}};
    std::erase_if(plan.parts, [](const auto& part) { return part.trained + part.frozen == 0; });
  }

  std::int64_t encoder_trained() const {
    return recipe_.image_encoder.train ? encoder_.parameters : 0;
  }
  std::int64_t in_optimizer() const { return bridge_.in_optimizer + encoder_trained(); }

  // The language model's weights in memory: as they are mapped, and the matrices laid together.
  double language_bytes() const {
    if (recipe_.stage == 1) return 0;
    const DecoderConfig& c = *decoder_config();
    const double fused = static_cast<double>(c.num_hidden_layers * c.hidden_size) *
                         static_cast<double>(c.qkv_width() + (c.classic() ? 0 : c.up_width()));
    return type_bytes() * (static_cast<double>(language_.parameters) + fused);
  }

  double bridge_bytes() const { return kFloatBytes * static_cast<double>(bridge_.all()); }

  void add_memory(RunPlan& plan) const {
    const double moments = 2 * kFloatBytes * static_cast<double>(in_optimizer());
    const double gradients =
        kFloatBytes * static_cast<double>(bridge_.reached() + encoder_trained());
    const double copies =
        pass_weight_bytes(config_.qformer, static_cast<std::int64_t>(type_bytes()));
    const double slack = kSlack * (steps_.largest.qformer_bytes + steps_.largest.loss_bytes +
                                   steps_.largest.encoder_bytes);
    const double transient =
        gradients + copies + steps_.activations - steps_.largest.language_bytes + slack;
    plan.memory = {{"program and libraries", kProgramBytes},
                   {"records and their tokens", data_.record_bytes},
                   {"weights of the bridge", bridge_bytes()},
                   {"weights of the language model", language_bytes()},
                   {"optimiser state", moments},
                   {"gradients", gradients},
                   {"weights in compute type", copies},
                   {"image features, keys and values", steps_.largest.feature_bytes},
                   {"activations of the image encoder", steps_.largest.encoder_bytes},
                   {"activations of the Q-Former", steps_.largest.qformer_bytes},
                   {"activations of the language model", steps_.largest.language_bytes},
                   {"losses", steps_.largest.loss_bytes}};
    if (recipe_.data.features == "live") {
      const double each = encoder_trained() > 0 ? kFloatBytes : type_bytes();
      plan.memory.push_back(
          {"weights of the image encoder", each * static_cast<double>(encoder_.parameters)});
    }
    plan.memory.push_back({"kept by the allocator", slack});
    // A checkpoint's files are mapped to be verified when the step's memory has been given back.
    const double given_back = (1 - kRetained) * transient;
    plan.memory.push_back({"checkpoint being verified", std::max(0.0, moments - given_back)});
    std::erase_if(plan.memory, [](const auto& item) { return item.bytes == 0; });
  }

  void add_work(RunPlan& plan) const {
    const StepCost& cost = steps_.mean;
    plan.work = {{"image encoder", cost.encoder},
                 {"keys and values of pictures", cost.image_keys},
                 {"Q-Former", cost.qformer},
                 {"heads", cost.heads},
                 {"language projection", cost.projection},
                 {"words", cost.words},
                 {"language model", cost.language}};
    std::erase_if(plan.work, [](const auto& item) { return item.flops.total() == 0; });
  }

  void add_disk(RunPlan& plan) const {
    constexpr double kIndexEntry = 40;
    const double feature = recipe_.data.feature_type == "f32" ? 4 : 2;
    const double row = static_cast<double>(encoder_.positions * encoder_.width) * feature;
    const double one = 3 * kFloatBytes * static_cast<double>(in_optimizer());
    const std::int64_t written =
        (recipe_.steps + recipe_.checkpoint.every - 1) / recipe_.checkpoint.every;
    // The best one on validation is kept besides, and one is being written.
    const std::int64_t best = recipe_.data.validation.empty() ? 0 : 1;
    const std::int64_t kept = std::min(written, recipe_.checkpoint.keep + best + 1);
    plan.disk = {{kFeatureCacheItem, static_cast<double>(data_.rows) * (row + kIndexEntry)},
                 {"checkpoints", static_cast<double>(kept) * one},
                 {"model", kFloatBytes * static_cast<double>(bridge_.all() + encoder_trained())}};
  }

  const Recipe& recipe_;
  Blip2Config initial_, config_;
  PlannedData data_;
  EncoderSize encoder_;
  BridgeSize bridge_;
  LanguageSize language_;
  Steps steps_;
};

std::string count_text(double count) {
  const std::pair<double, const char*> units[] = {
      {1e15, " P"}, {1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}};
  for (const auto& [size, unit] : units) {
    if (count >= size) return fmt::format("{:.4g}{}", count / size, unit);
  }
  return fmt::format("{:.4g} ", count);
}

std::string bytes_text(double bytes) {
  return count_text(bytes) + "B";
}

}  // namespace

double RunPlan::peak_memory() const {
  return sum(memory);
}
double RunPlan::disk_bytes() const {
  return sum(disk);
}
Flops RunPlan::step_flops() const {
  Flops all;
  for (const Work& item : work) all += item.flops;
  return all;
}
double RunPlan::run_flops() const {
  return static_cast<double>(steps) * step_flops().total() + feature_flops;
}

RunPlan plan_run(const Recipe& recipe, std::optional<std::int64_t> records) {
  return Planner(recipe, records).plan();
}

ordered_json plan_json(const RunPlan& plan) {
  ordered_json parts, memory, work, disk;
  std::int64_t trained = 0, frozen = 0;
  for (const auto& part : plan.parts) {
    parts[part.name] = {{"trained", part.trained}, {"frozen", part.frozen}};
    trained += part.trained;
    frozen += part.frozen;
  }
  for (const auto& item : plan.memory) memory[item.name] = static_cast<std::int64_t>(item.bytes);
  for (const auto& item : plan.disk) disk[item.name] = static_cast<std::int64_t>(item.bytes);
  for (const auto& item : plan.work) {
    work[item.name] = {{"forward", item.flops.forward}, {"backward", item.flops.backward}};
  }
  const Flops step = plan.step_flops();
  return {{"parameters", {{"trained", trained}, {"frozen", frozen}, {"parts", parts}}},
          {"memory", {{"peak", static_cast<std::int64_t>(plan.peak_memory())}, {"parts", memory}}},
          {"step",
           {{"samples", plan.samples_per_step},
            {"qformer_tokens", plan.qformer_tokens_per_step},
            {"language_tokens", plan.language_tokens_per_step},
            {"flops", step.total()},
            {"forward", step.forward},
            {"backward", step.backward},
            {"parts", work}}},
          {"run",
           {{"steps", plan.steps},
            {"samples", plan.samples},
            {"records", plan.records},
            {"pictures", plan.pictures},
            {"epochs", plan.epochs},
            {"qformer_tokens", plan.qformer_tokens_per_step * static_cast<double>(plan.steps)},
            {"language_tokens", plan.language_tokens_per_step * static_cast<double>(plan.steps)},
            {"feature_rows", plan.feature_rows},
            {"feature_flops", plan.feature_flops},
            {"flops", plan.run_flops()}}},
          {"disk", {{"total", static_cast<std::int64_t>(plan.disk_bytes())}, {"parts", disk}}}};
}

std::string plan_text(const RunPlan& plan) {
  std::string text = fmt::format("{:36} {:>12} {:>12}\n", "parameters", "trained", "frozen");
  for (const auto& part : plan.parts) {
    text += fmt::format("  {:34} {:>12} {:>12}\n", part.name,
                        count_text(static_cast<double>(part.trained)),
                        count_text(static_cast<double>(part.frozen)));
  }
  text += fmt::format("{:36} {:>12}\n", "memory at its peak", bytes_text(plan.peak_memory()));
  for (const auto& item : plan.memory) {
    text += fmt::format("  {:34} {:>12}\n", item.name, bytes_text(item.bytes));
  }
  const Flops step = plan.step_flops();
  text += fmt::format("{:36} {:>12} {:>12}\n", "operations of a step", "forward", "backward");
  for (const auto& item : plan.work) {
    text += fmt::format("  {:34} {:>12} {:>12}\n", item.name, count_text(item.flops.forward),
                        count_text(item.flops.backward));
  }
  text += fmt::format("  {:34} {:>12} {:>12}\n", "all", count_text(step.forward),
                      count_text(step.backward));
  text += fmt::format(
      "a step: {} samples, {:.0f} tokens of the Q-Former, {:.0f} of the language model\n",
      plan.samples_per_step, plan.qformer_tokens_per_step, plan.language_tokens_per_step);
  text += fmt::format("the run: {} steps, {} samples of {} records, {:.2f} epochs, {}operations\n",
                      plan.steps, plan.samples, plan.records, plan.epochs,
                      count_text(plan.run_flops()));
  text += fmt::format("  of these for {} rows of features, once: {}operations\n", plan.feature_rows,
                      count_text(plan.feature_flops));
  text += fmt::format("{:36} {:>12}\n", "disk", bytes_text(plan.disk_bytes()));
  for (const auto& item : plan.disk) {
    text += fmt::format("  {:34} {:>12}\n", item.name, bytes_text(item.bytes));
  }
  return text;
}

}  // namespace blip2
