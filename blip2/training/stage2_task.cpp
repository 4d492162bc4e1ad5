#include "blip2/training/stage2_task.h"

#include <utility>

#include "blip2/base/random.h"
#include "blip2/data/batch.h"
#include "blip2/model/prompts.h"
#include "blip2/model/soft_prompts.h"
#include "blip2/training/meters.h"

namespace blip2 {
namespace {

// Streams of a step's randomness.
enum : std::uint64_t { kDataSeed = 21, kStepSeed };

using Ids = std::vector<std::int64_t>;

// The rows of padded ids, each cut to `lengths` less `less`.
std::vector<Ids> rows_of(const at::Tensor& ids, const at::Tensor& lengths, std::int64_t less) {
  const auto rows = ids.accessor<std::int64_t, 2>();
  const auto* length = lengths.const_data_ptr<std::int64_t>();
  std::vector<Ids> result;
  for (std::int64_t i = 0; i < ids.size(0); ++i) {
    const std::int64_t* row = rows[i].data();
    result.emplace_back(row, row + length[i] - less);
  }
  return result;
}

// The positions whose next token is a target, and those targets.
struct Targets {
  Ids places, ids;
};

Targets find_targets(const PromptBatch& batch, const std::vector<std::int64_t>& offsets,
                     std::int64_t queries) {
  Targets targets;
  const auto ids = batch.ids.accessor<std::int64_t, 2>();
  const auto* prompt = batch.prompt_lengths.const_data_ptr<std::int64_t>();
  const auto* length = batch.lengths.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < batch.ids.size(0); ++i) {
    for (std::int64_t t = prompt[i]; t < length[i]; ++t) {
      targets.places.push_back(offsets[static_cast<std::size_t>(i)] + queries + t - 1);
      targets.ids.push_back(ids[i][t]);
    }
  }
  return targets;
}

class Stage2Task : public TrainingTask {
 public:
  Stage2Task(const Recipe& recipe, std::shared_ptr<Bridge> bridge, std::shared_ptr<Llama> language,
             const StageTokenizers& tokenizers, Dataset train, Dataset validation)
      : recipe_(recipe),
        bridge_(std::move(bridge)),
        language_(std::move(language)),
        train_(std::move(train)),
        validation_(std::move(validation)) {
    PromptFormat format = prompt_format(bridge_->config(), tokenizers.language);
    format.max_prompt_tokens = format.max_target_tokens = recipe.data.max_text_tokens;
    const Tokenizer* reads = bridge_->config().reads_prompt ? &tokenizers.qformer : nullptr;
    prompts_.emplace(train_.records, tokenizers.language, format, reads);
    if (!validation_.empty()) {
      held_out_.emplace(validation_.records, tokenizers.language, format, reads);
    }
  }

  const Dataset& data() const override { return train_; }

  SamplerOptions sampling() const override { return {}; }

  TaskLoss train(std::span<const std::int64_t> items, std::int64_t step) override {
    const auto seed = static_cast<std::uint64_t>(recipe_.seed);
    const std::uint64_t data_seed = derive_seed(seed, kDataSeed);
    const PromptBatch batch = prompts_->batch(items, data_seed, step);
    const at::Tensor features = train_.gather(batch.pictures, data_seed, step);
    return loss(batch, features, {compute_type(recipe_), true, derive_seed(seed, kStepSeed, step)});
  }

  TaskLoss validate() override {
    if (!held_out_) return {};
    const at::NoGradGuard no_grad;
    MeanMeters mean;
    for (const auto& items : sequential_batches(held_out_->size(), recipe_.batch_size)) {
      const PromptBatch batch = held_out_->batch(items, 0, std::nullopt);
      const at::Tensor features = validation_.gather(batch.pictures, 0, std::nullopt);
      mean.add(loss(batch, features, {compute_type(recipe_), false, 0}),
               static_cast<double>(items.size()));
    }
    return mean.result();
  }

 private:
  TaskLoss loss(const PromptBatch& batch, const at::Tensor& features,
                const ComputeOptions& compute) const {
    const QFormerPass pass = bridge_->qformer->pass(compute);
    std::optional<TextRows> instructions;
    if (batch.instructions.ids.defined()) {
      const at::Tensor& lengths = batch.instructions.lengths;
      instructions = pack_text(batch.instructions.ids, {lengths.const_data_ptr<std::int64_t>(),
                                                        static_cast<std::size_t>(lengths.numel())});
    }
    const at::Tensor soft = soft_prompts(*bridge_, pass, features, instructions);  // [B, Q, width]
    // The last token predicts nothing, so it is left out.
    const auto input = language_input(*language_, soft, rows_of(batch.ids, batch.lengths, 1));
    const Targets targets = find_targets(batch, input.offsets, soft.size(1));
    const at::Tensor hidden = language_->forward_packed(input.embeds, input.offsets);
    const at::Tensor losses =
        language_->token_loss(hidden.index_select(0, torch::tensor(targets.places, at::kLong)),
                              torch::tensor(targets.ids, at::kLong));
    return {losses.mean(), {}};
  }

  Recipe recipe_;
  std::shared_ptr<Bridge> bridge_;
  std::shared_ptr<Llama> language_;
  Dataset train_, validation_;
  std::optional<PromptData> prompts_, held_out_;
};

}  // namespace

std::unique_ptr<TrainingTask> make_stage2_task(const Recipe& recipe, std::shared_ptr<Bridge> bridge,
                                               std::shared_ptr<Llama> language,
                                               const StageTokenizers& tokenizers, Dataset train,
                                               Dataset validation) {
  return std::make_unique<Stage2Task>(recipe, std::move(bridge), std::move(language), tokenizers,
                                      std::move(train), std::move(validation));
}

}  // namespace blip2
