#include "blip2/training/prefix_lm_task.h"

#include <array>
#include <utility>

#include "blip2/base/random.h"
#include "blip2/data/batch.h"
#include "blip2/model/prompts.h"
#include "blip2/objectives/prefix_lm.h"
#include "blip2/training/alternation.h"
#include "blip2/training/lessons.h"
#include "blip2/training/meters.h"

namespace blip2 {
namespace {

// Streams of a step's randomness.
enum : std::uint64_t { kDataSeed = 31, kStepSeed, kSplitSeed, kMaskSeed };

enum Objective : std::size_t { kLm, kPrefixLm, kCmlm, kObjectives };
constexpr std::array<const char*, kObjectives> kNames{"lm", "prefix_lm", "cmlm"};
using Weights = std::array<double, kObjectives>;

class PrefixLmTask : public TrainingTask {
 public:
  PrefixLmTask(const Recipe& recipe, std::shared_ptr<Bridge> bridge,
               std::shared_ptr<const T5> language, const StageTokenizers& tokenizers, Dataset train,
               Dataset validation, const Ranks* ranks)
      : recipe_(recipe),
        bridge_(std::move(bridge)),
        language_(std::move(language)),
        train_(std::move(train)),
        validation_(std::move(validation)),
        weights_{recipe.objectives.lm, recipe.objectives.prefix_lm, recipe.objectives.cmlm},
        ranks_(ranks) {
    PromptFormat format = prompt_format(bridge_->config(), tokenizers.language);
    format.start.clear();  // T5's tokenizer has nothing before a text, its end token after it
    format.max_prompt_tokens = format.max_target_tokens = recipe.data.max_text_tokens;
    const Tokenizer* reads = bridge_->config().reads_prompt ? &tokenizers.qformer : nullptr;
    prompts_.emplace(train_.records, tokenizers.language, format, reads);
    if (!validation_.empty()) {
      held_out_.emplace(validation_.records, tokenizers.language, format, reads);
    }
    if (weights_[kCmlm] > 0) mask_token_ = answer_mask(tokenizers.language);
  }

  const Dataset& data() const override { return train_; }

  SamplerOptions sampling() const override { return {}; }

  TaskLoss train(std::span<const std::int64_t> items, std::int64_t step,
                 std::int64_t part) override {
    const auto seed = static_cast<std::uint64_t>(recipe_.seed);
    const std::uint64_t data_seed = derive_seed(seed, kDataSeed);
    const PromptBatch batch = prompts_->batch(items, data_seed, step);
    const at::Tensor features = train_.gather(batch.pictures, data_seed, step);
    std::uint64_t dropout_seed = part_seed(seed, kStepSeed, step, part);
    if (ranks_) dropout_seed = derive_seed(dropout_seed, ranks_->rank());
    const ComputeOptions compute{compute_type(recipe_), true, dropout_seed};
    const at::Tensor soft = see(*bridge_, batch, features, compute);
    const Weights weights = step_weights(weights_, recipe_.objectives.alternate, step);
    TaskLoss total;
    for (std::size_t i = 0; i < kObjectives; ++i) {
      if (weights[i] == 0) continue;
      const auto rows = lesson(static_cast<Objective>(i), batch, items, step, part);
      const at::Tensor losses = spoken_losses(*language_, soft, rows), loss = losses.mean();
      const double share = share_of(ranks_, losses.numel());
      const at::Tensor weighted = weights[i] * share * loss;
      total.loss = total.loss.defined() ? total.loss + weighted : weighted;
      total.meters.push_back({kNames[i], loss.item<double>(), share});
    }
    return total;
  }

  MeanMeters validate() override {
    if (!held_out_) return {};
    const at::NoGradGuard no_grad;
    MeanMeters mean;
    for (const auto& items : own_batches(held_out_->size(), recipe_.batch_size, ranks_)) {
      const PromptBatch batch = held_out_->batch(items, 0, std::nullopt);
      const at::Tensor features = validation_.gather(batch.pictures, 0, std::nullopt);
      const at::Tensor soft = see(*bridge_, batch, features, {compute_type(recipe_), false, 0});
      const at::Tensor loss = spoken_losses(*language_, soft, spoken_rows(batch)).mean();
      mean.add(loss.item<double>(), {}, static_cast<double>(items.size()));
    }
    return mean;
  }

 private:
  // The rows of a batch as an objective teaches them in a step.
  std::vector<SpokenRow> lesson(Objective objective, const PromptBatch& batch,
                                std::span<const std::int64_t> items, std::int64_t step,
                                std::int64_t part) const {
    const std::int64_t first = ranks_ ? ranks_->rank() * batch.ids.size(0) : 0;
    const auto seed = static_cast<std::uint64_t>(recipe_.seed);
    if (objective == kCmlm) {
      return masked_rows(batch, mask_token_, part_seed(seed, kMaskSeed, step, part), first);
    }
    auto rows = spoken_rows(batch);
    if (objective == kLm) return rows;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (train_.records[static_cast<std::size_t>(items[i])].is_question()) continue;
      const auto place = first + static_cast<std::int64_t>(i);
      rows[i] = split_answer(std::move(rows[i]),
                             derive_seed(part_seed(seed, kSplitSeed, step, part), place));
    }
    return rows;
  }

  Recipe recipe_;
  std::shared_ptr<Bridge> bridge_;
  std::shared_ptr<const T5> language_;
  Dataset train_, validation_;
  std::optional<PromptData> prompts_, held_out_;
  Weights weights_;
  std::int64_t mask_token_ = -1;
  const Ranks* ranks_;
};

}  // namespace

std::unique_ptr<TrainingTask> make_prefix_lm_task(const Recipe& recipe,
                                                  std::shared_ptr<Bridge> bridge,
                                                  std::shared_ptr<const T5> language,
                                                  const StageTokenizers& tokenizers, Dataset train,
                                                  Dataset validation, const Ranks* ranks) {
  return std::make_unique<PrefixLmTask>(recipe, std::move(bridge), std::move(language), tokenizers,
                                        std::move(train), std::move(validation), ranks);
}

}  // namespace blip2
