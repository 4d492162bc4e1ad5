#include "blip2/training/stage1_task.h"

#include <array>
#include <string>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/data/batch.h"
#include "blip2/training/meters.h"
#include "blip2/training/stage1_weights.h"

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
        ranks_(ranks) {
    if (!validation_.empty()) {
      held_out_.emplace(validation_.records, tokenizer, recipe.data.max_text_tokens);
    }
    const auto decoder = tokenizer.special().dec;
    if (!decoder) throw Error("expected a [DEC] token", "the Q-Former's tokenizer");
    decoder_token_ = *decoder;
    if (weights_[kMlm] > 0) masking_ = word_masking(tokenizer);
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
    const Weights weights = stage1_weights(recipe_.objectives, step);
    const Stage1Loss losses = compute_losses(batch, features, compute, weights, ranks_);
    TaskLoss total = weigh(losses, weights);
    if (words_ && losses.queries.defined()) {
      const at::Tensor soft = bridge_->soft_prompts(losses.queries);
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
      return weigh(compute_losses(batch, features, compute, weights_, nullptr), weights_);
    });
  }

 private:
  enum Place { kItc, kItm, kItg, kMlm, kMrm, kObjectives };
  using Weights = Stage1Weights;

  std::uint64_t data_seed() const {
    return derive_seed(static_cast<std::uint64_t>(recipe_.seed), kDataSeed);
  }

  WordMasking word_masking(const Tokenizer& tokenizer) const {
    const SpecialTokens special = tokenizer.special();
    if (!special.mask) throw Error("expected a [MASK] token for MLM", "the Q-Former's tokenizer");
    WordMasking masking{*special.mask, bridge_->config().qformer.vocab_size, {}, 0};
    masking.share = recipe_.objectives.mlm_share;
    for (const auto& id : {special.bos, special.eos, special.pad, special.unk, special.cls,
                           special.sep, special.mask, special.dec}) {
      if (id) masking.special.push_back(*id);
    }
    return masking;
  }

  Stage1Options options(const ComputeOptions& compute, const Weights& weights) const {
    const ObjectivesRecipe& recipe = recipe_.objectives;
    return {compute,
            decoder_token_,
            recipe.label_smoothing,
            recipe.clamp_temperature,
            {weights[kItc] > 0, weights[kItm] > 0, weights[kItg] > 0, weights[kMlm] > 0,
             weights[kMrm] > 0},
            masking_,
            recipe.mrm_share};
  }

  Stage1Loss compute_losses(const CaptionBatch& batch, const at::Tensor& features,
                            const ComputeOptions& compute, const Weights& weights,
                            const Ranks* ranks) const {
    Stage1Batch input;
    input.image_embeds = features;
    input.text = pack_text(batch.ids, {batch.lengths.data_ptr<std::int64_t>(),
                                       static_cast<std::size_t>(batch.lengths.numel())});
    input.image_ids = batch.image_ids;
    input.caption_ids = batch.caption_ids;
    Stage1Options options = this->options(compute, weights);
    options.ranks = ranks;
    return stage1_loss(bridge_->stage1_parts(), input, options);
  }

  struct Part {
    std::string name;
    at::Tensor loss;
    double accuracy, share;
  };

  static TaskLoss weigh(const Stage1Loss& losses, const Weights& weights) {
    const std::array<Part, kObjectives> parts{
        {{"itc", losses.itc, losses.itc_accuracy, losses.shares.itc},
         {"itm", losses.itm, losses.itm_accuracy, losses.shares.itm},
         {"itg", losses.itg, losses.itg_accuracy, losses.shares.itg},
         {"mlm", losses.mlm, losses.mlm_accuracy, losses.shares.mlm},
         {"mrm", losses.mrm, losses.mrm_accuracy, losses.shares.mrm}}};
    TaskLoss total;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (weights[i] == 0) continue;
      const at::Tensor weighted = weights[i] * parts[i].share * parts[i].loss;
      total.loss = total.loss.defined() ? total.loss + weighted : weighted;
      total.meters.push_back({parts[i].name, parts[i].loss.item<double>(), parts[i].share});
    }
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (weights[i] == 0) continue;
      total.meters.push_back({parts[i].name + "_accuracy", parts[i].accuracy, parts[i].share});
    }
    return total;
  }

  Recipe recipe_;
  std::shared_ptr<Bridge> bridge_;
  Dataset train_, validation_;
  CaptionData captions_;
  std::optional<CaptionData> held_out_;
  std::optional<CaptionWords> words_;
  std::int64_t decoder_token_ = 0;
  Weights weights_;
  WordMasking masking_;
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
