#include "blip2/planning/run_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/costs/language_cost.h"
#include "blip2/costs/qformer_cost.h"
#include "blip2/io/gguf.h"
#include "blip2/model/config.h"
#include "blip2/model/language_side.h"
#include "blip2/planning/bridge_size_internal.h"
#include "blip2/planning/data_plan_internal.h"
#include "blip2/planning/step_plan.h"
#include "blip2/recipe/compute_type.h"
#include "blip2/recipe/lora_config.h"
#include "blip2/tasks/starting_model.h"
#include "blip2/tasks/task.h"
#include "blip2/tasks/trained_config.h"

namespace blip2 {
namespace {

// Measured on Debian 12 (glibc 2.36, LibTorch 2.13 on the CPU): the program, its libraries and the
// kernels that oneDNN compiles.
constexpr double kProgramBytes = 205e6;
// What glibc's allocator holds beside activations and losses, as a share of them: blocks of
// changing sizes leave gaps. The Q-Former in f32 leaves few, as no copies in other types come
// between. The language model's memory is one block, which is used again.
constexpr double kSlack = 0.4, kSlackF32 = 0.1;

double sum(const std::vector<RunPlan::Bytes>& items) {
  double total = 0;
  for (const auto& item : items) total += item.bytes;
  return total;
}

// What all of the run's steps looked at cost a process on average, and the largest of what it
// computes at a time.
struct Steps {
  StepCost mean;  // tokens: of all processes
  StepCost largest;
};

void add_scaled(Flops& sum, const Flops& part, double share) {
  sum += {part.forward * share, part.backward * share};
}

Steps measure_steps(const StepModel& model, const PlannedData& data, std::int64_t part_size) {
  Steps steps;
  const std::vector<StepKind> kinds = step_kinds(model.recipe);
  const auto add = [&](const StepCost& cost, double share) {
    const double own_share = share / static_cast<double>(model.processes);
    for (const auto part :
         {&StepCost::image_keys, &StepCost::qformer, &StepCost::heads, &StepCost::projection,
          &StepCost::language, &StepCost::words, &StepCost::encoder}) {
      add_scaled(steps.mean.*part, cost.*part, own_share);
    }
    steps.mean.qformer_tokens += share * cost.qformer_tokens;
    steps.mean.language_tokens += share * cost.language_tokens;
    if (cost.activation_bytes() > steps.largest.activation_bytes()) steps.largest = cost;
  };
  for (const StepTexts& texts : data.steps) {
    for (std::int64_t first = 0; first < texts.samples; first += part_size) {
      const StepTexts part = texts.part(first, part_size);
      for (const StepKind& kind : kinds) {
        add(step_cost(model, part, kind.step), kind.share / static_cast<double>(data.steps.size()));
      }
    }
  }
  return steps;
}

// The weights of a GGUF file that training goes through in their blocks: the matrices laid
// together, a tied head's once more, and the head widened for the losses. 0 if there is no such
// file.
double gguf_bytes(const std::filesystem::path& path, const LanguageConfig& config, double type) {
  if (!std::filesystem::exists(path)) return 0;
  const auto words = static_cast<double>(vocabulary_of(config) * language_width(config));
  double bytes = type * words;
  bool head = false;
  std::uint64_t table = 0;
  const auto file = open_gguf(path);
  for (const TensorView& tensor : file->tensors()) {
    bytes += static_cast<double>(tensor.data.size());
    head = head || tensor.name == "output.weight";
    if (tensor.name == "token_embd.weight") table = tensor.data.size();
  }
  return bytes + (head ? 0 : static_cast<double>(table));
}

class Planner {
 public:
  Planner(const Recipe& recipe, std::int64_t processes, std::optional<std::int64_t> records)
      : recipe_(recipe),
        processes_(processes),
        initial_(starting_model(recipe).config),
        at_once_(samples_at_once(recipe, processes)) {
    require_trainable(initial_, recipe);
    config_ = trained_config(initial_, recipe);
    if (config_.language) {
      gguf_bytes_ = gguf_bytes(starting_model(recipe).language / kLanguageGguf, *config_.language,
                               type_bytes());
    }
    data_ = records ? assume_data(recipe, config_, *records) : scan_data(recipe, config_);
    encoder_ = encoder_size(config_.vision);
    bridge_ = bridge_size(config_, recipe);
    if (config_.language) adapters_ = lora_parameters(*config_.language, lora_config(recipe));
    if (records && recipe.objectives.words > 0) {
      data_.word_targets = std::min<std::int64_t>(*records, vocabulary_of(*config_.language));
    }
    steps_ =
        measure_steps({config_, recipe_, encoder_, data_.word_targets, processes}, data_, at_once_);
  }

  RunPlan plan() const {
    RunPlan plan;
    add_parts(plan);
    add_memory(plan);
    add_work(plan);
    add_disk(plan);
    plan.processes = processes_;
    plan.samples_per_step = recipe_.batch_size;
    plan.samples_at_once = at_once_;
    plan.samples = recipe_.batch_size * recipe_.steps;
    plan.qformer_tokens_per_step = steps_.mean.qformer_tokens;
    plan.language_tokens_per_step = steps_.mean.language_tokens;
    plan.steps = recipe_.steps;
    plan.records = data_.records;
    plan.validation_records = data_.validation_records;
    plan.pictures = data_.pictures;
    plan.feature_rows = data_.rows;
    plan.epochs = data_.epochs;
    plan.feature_flops = static_cast<double>(data_.rows) * encoder_.flops + data_.state_flops;
    return plan;
  }

 private:
  bool narrow() const { return compute_type(recipe_) != at::kFloat; }
  double type_bytes() const { return static_cast<double>(c10::elementSize(compute_type(recipe_))); }

  void add_parts(RunPlan& plan) const {
    plan.parts = {
        {"image encoder", encoder_trained(), encoder_.parameters - encoder_trained()},
        {config_.qformer.reads_language() ? "norms of what is read" : "norm of image features",
         bridge_.norm.trained, bridge_.norm.frozen},
        {"queries", bridge_.queries.trained, 0},
        {"Q-Former", bridge_.qformer.trained, bridge_.qformer.frozen},
        {"heads", bridge_.heads.trained, bridge_.heads.frozen},
        {"language projection", bridge_.projection.trained, bridge_.projection.frozen},
        {"language model's adapters", adapters_, 0},
        {"language model", 0, config_.language ? language_parameters(*config_.language) : 0}};
    std::erase_if(plan.parts, [](const auto& part) { return part.trained + part.frozen == 0; });
  }

  std::int64_t encoder_trained() const {
    return recipe_.image_encoder.train ? encoder_.parameters : 0;
  }
  std::int64_t in_optimizer() const { return bridge_.in_optimizer + encoder_trained() + adapters_; }

  // Stage 1 reads no more of the language model than the words that it points at, unless it reads
  // captions in each step.
  double language_bytes() const {
    const bool reads = trains_reads(config_, recipe_) && recipe_.data.features == "live";
    if (recipe_.stage == 1 && !reads) return 0;
    if (recipe_.language_weights == "stored" && gguf_bytes_ > 0) return gguf_bytes_;
    return language_weight_bytes(*config_.language, type_bytes(),
                                 recipe_.language_weights == "int8");
  }

  double bridge_bytes() const { return kF32Bytes * static_cast<double>(bridge_.all()); }

  // What a process touches of the memory that GradientSum shares on one machine: its own part, and
  // of each other's the gradients of the parameters that it owns and the parameters that that owns.
  double shared_bytes(double trained) const {
    if (processes_ == 1) return 0;
    const auto all = static_cast<double>(processes_);
    return trained * (1 + 2 * (all - 1) / all);
  }

  void add_memory(RunPlan& plan) const {
    const StepCost& most = steps_.largest;
    const double trained = kF32Bytes * static_cast<double>(in_optimizer());
    plan.memory = {{"program and libraries", kProgramBytes},
                   {"records and their tokens", data_.record_bytes},
                   {"weights of the bridge", bridge_bytes()},
                   {"weights of the adapters", kF32Bytes * static_cast<double>(adapters_)},
                   {"weights of the image encoder", encoder_bytes()},
                   {"weights of the language model", language_bytes()},
                   {"optimiser state", 2 * trained},
                   {"memory shared by processes", shared_bytes(trained)}};
    const double lasting = sum(plan.memory) + most.pooled_bytes;
    const auto type = static_cast<std::int64_t>(type_bytes());
    const std::vector<RunPlan::Bytes> step{
        {"weights in compute type", pass_weight_bytes(config_.qformer, type)},
        {"gradients", gradient_bytes()},
        {"pictures read ahead", picture_bytes()},
        {"image features, keys and values", most.feature_bytes},
        {"activations of the image encoder", most.encoder_bytes},
        {"activations of the Q-Former", most.qformer_bytes},
        {"activations of the language model", most.language_bytes},
        {"losses", most.loss_bytes},
        {"kept by the allocator", slack_bytes()}};
    plan.memory.insert(plan.memory.end(), step.begin(), step.end());
    // Its files are mapped to be verified when the step's memory has been given back.
    plan.memory.push_back(
        {"checkpoint being verified", std::max(0.0, lasting + 2 * trained - sum(plan.memory))});
    std::erase_if(plan.memory, [](const auto& item) { return item.bytes == 0; });
  }

  // Gradients come as activations go. Those of earlier parts of a batch are there all the time; in
  // bf16 the gaps between them are as large as they are.
  double gradient_bytes() const {
    const double all =
        kF32Bytes * static_cast<double>(bridge_.reached() + encoder_trained() + adapters_);
    if (recipe_.accumulate > 1) return narrow() ? 2 * all : all;
    const StepCost& most = steps_.largest;
    const double gone = most.activation_bytes() - most.pooled_bytes + slack_bytes();
    return std::max(0.0, all - gone);
  }

  double slack_bytes() const {
    if (recipe_.image_encoder.checkpointing) return 0;  // blocks go back at once
    const StepCost& most = steps_.largest;
    return kSlack * most.encoder_bytes +
           (narrow() ? kSlack : kSlackF32) * (most.qformer_bytes + most.loss_bytes);
  }

  double encoder_bytes() const {
    if (recipe_.data.features != "live") return 0;
    const double each = encoder_trained() > 0 ? kF32Bytes : type_bytes();
    return each * static_cast<double>(encoder_.parameters);
  }

  // The pictures of this step and of the steps that are being read, and a part of a batch in order.
  double picture_bytes() const {
    if (recipe_.data.features != "live") return 0;
    const auto batches = static_cast<double>(1 + kStepsAhead);
    const double share = static_cast<double>(recipe_.batch_size / processes_);
    return kF32Bytes * static_cast<double>(encoder_.pixels) *
           (batches * share + static_cast<double>(at_once_));
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
    const double one = 3 * kF32Bytes * static_cast<double>(in_optimizer());
    const std::int64_t written =
        (recipe_.steps + recipe_.checkpoint.every - 1) / recipe_.checkpoint.every;
    // The best one on validation is kept besides, and one is being written.
    const std::int64_t best = recipe_.data.validation.empty() ? 0 : 1;
    const std::int64_t kept = std::min(written, recipe_.checkpoint.keep + best + 1);
    const double states =
        data_.state_tokens * static_cast<double>(config_.qformer.language_hidden_size) * feature +
        static_cast<double>(data_.state_texts) * kIndexEntry;
    plan.disk = {
        {kFeatureCacheItem, static_cast<double>(data_.rows) * (row + kIndexEntry) + states},
        {"checkpoints", static_cast<double>(kept) * one},
        {"model", kF32Bytes * static_cast<double>(bridge_.all() + encoder_trained() + adapters_)}};
  }

  double gguf_bytes_ = 0;
  const Recipe& recipe_;
  std::int64_t processes_;
  Blip2Config initial_, config_;
  std::int64_t at_once_;
  PlannedData data_;
  EncoderSize encoder_;
  BridgeSize bridge_;
  std::int64_t adapters_ = 0;  // their parameters
  Steps steps_;
};

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
  return static_cast<double>(steps * processes) * step_flops().total() + feature_flops;
}

RunPlan plan_run(const Recipe& recipe, std::int64_t processes,
                 std::optional<std::int64_t> records) {
  return Planner(recipe, processes, records).plan();
}

}  // namespace blip2
