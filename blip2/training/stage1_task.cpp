#include "blip2/training/stage1_task.h"

#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/data/batch.h"
#include "blip2/training/meters.h"
#include "blip2/training/stage1_objectives.h"

namespace blip2 {
namespace {

// Streams of a step's randomness.
enum : std::uint64_t { kDataSeed = 11, kStepSeed, kValidationSeed };

class Stage1Task : public TrainingTask {
 public:
  Stage1Task(const Recipe& recipe, std::shared_ptr<Bridge> bridge, const Tokenizer& tokenizer,
             Dataset train, Dataset validation, std::optional<CaptionWords> words,
             const Ranks* ranks)
      : recipe_(recipe),
        bridge_(std::move(bridge)),
        train_(std::move(train)),
        validation_(std::move(validation)),
        captions_(train_.records, tokenizer, recipe.data.max_text_tokens),
        words_(std::move(words)),
        weights_(stage1_weights(recipe.objectives)),
        setting_(
            stage1_setting(recipe.objectives, tokenizer, bridge_->config().qformer.vocab_size)),
        ranks_(ranks) {
    if (!validation_.empty()) {
      held_out_.emplace(validation_.records, tokenizer, recipe.data.max_text_tokens);
    }
    const auto decoder = tokenizer.special().dec;
    if (!decoder) throw Error("expected a [DEC] token", "the Q-Former's tokenizer");
    decoder_token_ = *decoder;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      const Stage1Objective& objective = stage1_objectives()[i];
      if (weights_[i] > 0 && objective.check) objective.check(setting_);
    }
  }

  const Dataset& data() const override { return train_; }

  SamplerOptions sampling() const override {
    SamplerOptions options;
    options.distinct = captions_.item_pictures();
    return options;
  }

  void read_ahead(std::span<const std::int64_t> items, std::int64_t step) const override {
    train_.read_ahead(items, data_seed(), step);
  }

  TaskLoss train(std::span<const std::int64_t> items, std::int64_t step,
                 std::int64_t part) override {
    const auto seed = static_cast<std::uint64_t>(recipe_.seed);
    const std::uint64_t data_seed = this->data_seed();
    const CaptionBatch batch = captions_.batch(items, data_seed, step);
    const at::Tensor features = train_.gather(batch.pictures, data_seed, step);
    const ComputeOptions compute{compute_type(recipe_), true,
                                 part_seed(seed, kStepSeed, step, part)};
    const std::vector<double> weights = stage1_weights(recipe_.objectives, step);
    const Stage1Step losses = make_step(batch, features, compute, weights, ranks_);
    TaskLoss total = stage1_loss(losses, setting_, weights);
    if (words_ && losses.queries().defined()) {
      const at::Tensor soft = bridge_->soft_prompts(losses.queries());
      total.add(words_->loss(soft, items, data_seed, step, ranks_));
    }
    return total;
  }

  MeanMeters validate() override {
    if (!held_out_) return {};
    const std::int64_t part = samples_at_once(recipe_, 1);
    return mean_loss(held_out_->size(), part, ranks_, [&](const auto& items) {
      const CaptionBatch batch = held_out_->batch(items, 0, std::nullopt);
      const at::Tensor features = validation_.gather(batch.pictures, 0, std::nullopt);
      const ComputeOptions compute{compute_type(recipe_), false,
                                   derive_seed(kValidationSeed, items[0])};
      return stage1_loss(make_step(batch, features, compute, weights_, nullptr), setting_,
                         weights_);
    });
  }

 private:
  std::uint64_t data_seed() const {
    return derive_seed(static_cast<std::uint64_t>(recipe_.seed), kDataSeed);
  }

  Stage1Step make_step(const CaptionBatch& batch, const at::Tensor& features,
                       const ComputeOptions& compute, std::span<const double> weights,
                       const Ranks* ranks) const {
    Stage1Batch input;
    input.image_embeds = features;
    input.text = pack_text(batch.ids, {batch.lengths.data_ptr<std::int64_t>(),
                                       static_cast<std::size_t>(batch.lengths.numel())});
    input.image_ids = batch.image_ids;
    input.caption_ids = batch.caption_ids;
    const ObjectivesRecipe& recipe = recipe_.objectives;
    return {bridge_->stage1_parts(),
            std::move(input),
            {.compute = compute,
             .passes = shared_passes(weights),
             .decoder_token = decoder_token_,
             .label_smoothing = recipe.label_smoothing,
             .clamp_temperature = recipe.clamp_temperature,
             .ranks = ranks}};
  }

  Recipe recipe_;
  std::shared_ptr<Bridge> bridge_;
  Dataset train_, validation_;
  CaptionData captions_;
  std::optional<CaptionData> held_out_;
  std::optional<CaptionWords> words_;
  std::int64_t decoder_token_ = 0;
  std::vector<double> weights_;
  Stage1Setting setting_;
  const Ranks* ranks_;
};

}  // namespace

std::unique_ptr<TrainingTask> make_stage1_task(const Recipe& recipe, std::shared_ptr<Bridge> bridge,
                                               const Tokenizer& tokenizer, Dataset train,
                                               Dataset validation,
                                               std::optional<CaptionWords> words,
                                               const Ranks* ranks) {
  return std::make_unique<Stage1Task>(recipe, std::move(bridge), tokenizer, std::move(train),
                                      std::move(validation), std::move(words), ranks);
}

}  // namespace blip2
