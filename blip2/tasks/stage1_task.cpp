#include "blip2/tasks/stage1_task.h"
#include "blip2/recipe/compute_type.h"

#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/data/batch.h"
#include "blip2/tasks/meters.h"
#include "blip2/tasks/stage1_objectives.h"

namespace blip2 {
namespace {

// Streams of a step's randomness.
enum : std::uint64_t { kDataSeed = 11, kStepSeed, kValidationSeed };

class Stage1Task : public TrainingTask {
 public:
  Stage1Task(const Recipe& recipe, std::shared_ptr<Bridge> bridge, const Tokenizer& tokenizer,
             std::span<const Record> train, std::span<const Record> validation,
             std::optional<CaptionWords> words, std::optional<LanguageReading> reading,
             const Ranks* ranks)
      : recipe_(recipe),
        bridge_(std::move(bridge)),
        captions_(train, tokenizer, recipe.data.max_text_tokens),
        held_out_(validation, tokenizer, recipe.data.max_text_tokens),
        words_(std::move(words)),
        weights_(stage1_weights(recipe.objectives)),
        setting_(
            stage1_setting(recipe.objectives, tokenizer, bridge_->config().qformer.vocab_size)),
        ranks_(ranks) {
    const auto decoder = tokenizer.special().dec;
    if (!decoder) throw Error("expected a [DEC] token", "the Q-Former's tokenizer");
    decoder_token_ = *decoder;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      const Stage1Objective& objective = stage1_objectives()[i];
      if (weights_[i] > 0 && objective.check) objective.check(setting_);
    }
    if (!reading) return;
    reads_.emplace(std::move(*reading), tokenizer, setting_,
                   static_cast<std::uint64_t>(recipe.seed));
    reads_->prepare(captions_, recipe.objectives.mlm_ways);
    reads_->prepare(held_out_, /*ways=*/1);
  }

  std::uint64_t data_seed() const override {
    return derive_seed(static_cast<std::uint64_t>(recipe_.seed), kDataSeed);
  }

  TaskLoss train(const TaskBatch& batch, std::int64_t step, std::int64_t part) override {
    const auto seed = static_cast<std::uint64_t>(recipe_.seed);
    const ComputeOptions compute{compute_type(recipe_), true,
                                 part_seed(seed, kStepSeed, step, part)};
    const std::vector<double> weights = stage1_weights(recipe_.objectives, step);
    const Stage1Step passes = make_step(captions_.batch(batch.items, data_seed(), step), step,
                                        batch.features, compute, weights, ranks_);
    TaskLoss total = stage1_loss(passes, setting_, weights);
    if (words_ && passes.queries().defined()) {
      const at::Tensor soft = bridge_->soft_prompts(passes.queries());
      total.add(words_->loss(soft, batch.items, data_seed(), step, ranks_));
    }
    return total;
  }

  TaskLoss validate(const TaskBatch& batch) override {
    const ComputeOptions compute{compute_type(recipe_), false,
                                 derive_seed(kValidationSeed, batch.items[0])};
    const Stage1Step passes = make_step(held_out_.batch(batch.items, 0, std::nullopt), std::nullopt,
                                        batch.features, compute, weights_, nullptr);
    return stage1_loss(passes, setting_, weights_);
  }

 private:
  Stage1Step make_step(const CaptionBatch& captions, std::optional<std::int64_t> step,
                       const ImageFeatures& features, const ComputeOptions& compute,
                       std::span<const double> weights, const Ranks* ranks) const {
    const ObjectivesRecipe& recipe = recipe_.objectives;
    return {bridge_->stage1_parts(),
            {.image_embeds = features,
             .text = captions.texts,
             .image_ids = captions.image_ids,
             .caption_ids = captions.caption_ids,
             .language = reads_ ? reads_->batch(captions, step, weights) : std::nullopt},
            {.compute = compute,
             .passes = shared_passes(weights),
             .decoder_token = decoder_token_,
             .label_smoothing = recipe.label_smoothing,
             .clamp_temperature = recipe.clamp_temperature,
             .ranks = ranks}};
  }

  Recipe recipe_;
  std::shared_ptr<Bridge> bridge_;
  CaptionData captions_, held_out_;
  std::optional<CaptionWords> words_;
  std::int64_t decoder_token_ = 0;
  std::vector<double> weights_;
  Stage1Setting setting_;
  std::optional<CaptionReads> reads_;
  const Ranks* ranks_;
};

}  // namespace

std::unique_ptr<TrainingTask> make_stage1_task(
    const Recipe& recipe, std::shared_ptr<Bridge> bridge, const Tokenizer& tokenizer,
    std::span<const Record> train, std::span<const Record> validation,
    std::optional<CaptionWords> words, std::optional<LanguageReading> reading, const Ranks* ranks) {
  return std::make_unique<Stage1Task>(recipe, std::move(bridge), tokenizer, train, validation,
                                      std::move(words), std::move(reading), ranks);
}

}  // namespace blip2
