#include "blip2/training/stage1_task.h"

#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/data/batch.h"
#include "blip2/training/meters.h"

namespace blip2 {
namespace {

// Streams of a step's randomness.
enum : std::uint64_t { kDataSeed = 11, kStepSeed, kValidationSeed };

class Stage1Task : public TrainingTask {
 public:
  Stage1Task(const Recipe& recipe, std::shared_ptr<Bridge> bridge, const Tokenizer& tokenizer,
             Dataset train, Dataset validation)
      : recipe_(recipe),
        bridge_(std::move(bridge)),
        train_(std::move(train)),
        validation_(std::move(validation)),
        captions_(train_.records, tokenizer, recipe.data.max_text_tokens) {
    if (!validation_.empty()) {
      held_out_.emplace(validation_.records, tokenizer, recipe.data.max_text_tokens);
    }
    const auto decoder = tokenizer.special().dec;
    if (!decoder) throw Error("expected a [DEC] token", "the Q-Former's tokenizer");
    decoder_token_ = *decoder;
  }

  const Dataset& data() const override { return train_; }

  SamplerOptions sampling() const override {
    SamplerOptions options;
    options.distinct = captions_.item_pictures();
    return options;
  }

  TaskLoss train(std::span<const std::int64_t> items, std::int64_t step) override {
    const auto seed = static_cast<std::uint64_t>(recipe_.seed);
    const std::uint64_t data_seed = derive_seed(seed, kDataSeed);
    const CaptionBatch batch = captions_.batch(items, data_seed, step);
    const at::Tensor features = train_.gather(batch.pictures, data_seed, step);
    const ComputeOptions compute{compute_type(recipe_), true, derive_seed(seed, kStepSeed, step)};
    const bool matching = step >= recipe_.objectives.itm_from;
    return loss(batch, features, compute, matching);
  }

  TaskLoss validate() override {
    if (!held_out_) return {};
    const at::NoGradGuard no_grad;
    MeanMeters mean;
    for (const auto& items : sequential_batches(held_out_->size(), recipe_.batch_size)) {
      const CaptionBatch batch = held_out_->batch(items, 0, std::nullopt);
      const at::Tensor features = validation_.gather(batch.pictures, 0, std::nullopt);
      const ComputeOptions compute{compute_type(recipe_), false,
                                   derive_seed(kValidationSeed, items[0])};
      mean.add(loss(batch, features, compute, true), static_cast<double>(items.size()));
    }
    return mean.result();
  }

 private:
  TaskLoss loss(const CaptionBatch& batch, const at::Tensor& features,
                const ComputeOptions& compute, bool matching) const {
    const ObjectivesRecipe& weights = recipe_.objectives;
    Stage1Batch input;
    input.image_embeds = features;
    input.text = pack_text(batch.ids, {batch.lengths.data_ptr<std::int64_t>(),
                                       static_cast<std::size_t>(batch.lengths.numel())});
    input.image_ids = batch.image_ids;
    input.caption_ids = batch.caption_ids;
    const Stage1Options options{compute, decoder_token_, weights.label_smoothing,
                                weights.clamp_temperature, matching};
    const Stage1Loss losses = stage1_loss(bridge_->stage1_parts(), input, options);
    const at::Tensor total =
        weights.itc * losses.itc + weights.itm * losses.itm + weights.itg * losses.itg;
    return {total,
            {{"itc", losses.itc.item<double>()},
             {"itm", losses.itm.item<double>()},
             {"itg", losses.itg.item<double>()},
             {"itc_accuracy", losses.itc_accuracy},
             {"itm_accuracy", losses.itm_accuracy},
             {"itg_accuracy", losses.itg_accuracy}}};
  }

  Recipe recipe_;
  std::shared_ptr<Bridge> bridge_;
  Dataset train_, validation_;
  CaptionData captions_;
  std::optional<CaptionData> held_out_;
  std::int64_t decoder_token_ = 0;
};

}  // namespace

std::unique_ptr<TrainingTask> make_stage1_task(const Recipe& recipe, std::shared_ptr<Bridge> bridge,
                                               const Tokenizer& tokenizer, Dataset train,
                                               Dataset validation) {
  return std::make_unique<Stage1Task>(recipe, std::move(bridge), tokenizer, std::move(train),
                                      std::move(validation));
}

}  // namespace blip2
