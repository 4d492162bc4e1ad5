#include "blip2/training/prefix_lm_task.h"

#include <array>
#include <utility>

#include "blip2/base/random.h"
#include "blip2/data/batch.h"
#include "blip2/model/prompts.h"
#include "blip2/objectives/prefix_lm.h"
#include "blip2/training/alternation.h"
#include "blip2/training/lessons.h"

namespace blip2 {
namespace {

// Streams of a step's randomness.
enum : std::uint64_t { kDataSeed = 31, kStepSeed, kSplitSeed, kMaskSeed };

enum Objective : std::size_t { kLm, kPrefixLm, kCmlm, kObjectives };
constexpr std::array<const char*, kObjectives> kNames{"lm", "prefix_lm", "cmlm"};
using Weights = std::array<double, kObjectives>;

class PrefixLmTask : public TrainingTask {
 public:
  PrefixLmTask(const Recipe& recipe, const std::shared_ptr<Bridge>& bridge,
               std::shared_ptr<const T5> language, const StageTokenizers& tokenizers, Dataset train,
               Dataset validation, const Ranks* ranks)
      : recipe_(recipe),
        language_(std::move(language)),
        data_(recipe, bridge, tokenizers, prompt_format(bridge->config(), tokenizers.language),
              std::move(train), std::move(validation), ranks, {kDataSeed, kStepSeed}),
        weights_{recipe.objectives.lm, recipe.objectives.prefix_lm, recipe.objectives.cmlm} {
    if (weights_[kCmlm] > 0) mask_token_ = answer_mask(tokenizers.language);
  }

  const Dataset& data() const override { return data_.train(); }

  SamplerOptions sampling() const override { return {}; }
  void read_ahead(std::span<const std::int64_t> items, std::int64_t step) const override {
    data_.read_ahead(items, step);
  }

  TaskLoss train(std::span<const std::int64_t> items, std::int64_t step,
                 std::int64_t part) override {
    const SpokenBatch batch = data_.batch(items, step, part);
    const Weights weights = step_weights(weights_, recipe_.objectives.alternate, step);
    TaskLoss total;
    for (std::size_t i = 0; i < kObjectives; ++i) {
      if (weights[i] == 0) continue;
      const auto rows = lesson(static_cast<Objective>(i), batch, items, step, part);
      data_.add_mean(total, kNames[i], weights[i], spoken_losses(*language_, batch.soft, rows));
    }
    data_.add_contrast(total, batch, items, step, part);
    return total;
  }

  MeanMeters validate() override {
    return data_.validate([&](const SpokenBatch& batch, auto) -> TaskLoss {
      return {spoken_losses(*language_, batch.soft, spoken_rows(batch.prompts)).mean(), {}};
    });
  }

 private:
  // The rows of a batch as an objective teaches them in a step.
  std::vector<SpokenRow> lesson(Objective objective, const SpokenBatch& batch,
                                std::span<const std::int64_t> items, std::int64_t step,
                                std::int64_t part) const {
    const std::int64_t first = data_.first_row(batch);
    const auto seed = static_cast<std::uint64_t>(recipe_.seed);
    if (objective == kCmlm) {
      return masked_rows(batch.prompts, mask_token_, part_seed(seed, kMaskSeed, step, part), first);
    }
    auto rows = spoken_rows(batch.prompts);
    if (objective == kLm) return rows;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (data_.train().records[static_cast<std::size_t>(items[i])].is_question()) continue;
      const auto place = first + static_cast<std::int64_t>(i);
      rows[i] = split_answer(std::move(rows[i]),
                             derive_seed(part_seed(seed, kSplitSeed, step, part), place));
    }
    return rows;
  }

  Recipe recipe_;
  std::shared_ptr<const T5> language_;
  SpokenData data_;
  Weights weights_;
  std::int64_t mask_token_ = -1;
};

}  // namespace

std::unique_ptr<TrainingTask> make_prefix_lm_task(const Recipe& recipe,
                                                  std::shared_ptr<Bridge> bridge,
                                                  std::shared_ptr<const T5> language,
                                                  const StageTokenizers& tokenizers, Dataset train,
                                                  Dataset validation, const Ranks* ranks) {
  return std::make_unique<PrefixLmTask>(recipe, bridge, std::move(language), tokenizers,
                                        std::move(train), std::move(validation), ranks);
}

}  // namespace blip2
