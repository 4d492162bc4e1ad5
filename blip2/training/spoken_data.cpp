#include "blip2/training/spoken_data.h"

#include <utility>

#include "blip2/base/random.h"
#include "blip2/model/soft_prompts.h"

namespace blip2 {
namespace {

// The dropout of the contrast's passes, beside that of the soft prompts.
constexpr std::uint64_t kContrastPurpose = 32;

// The soft prompts [B, Q, width] of a batch with its pictures' features [B, P, De]; the Q-Former
// reads the batch's instructions if it has some.
at::Tensor soft_prompts_of(const Bridge& bridge, const PromptBatch& batch,
                           const at::Tensor& features, const ComputeOptions& compute) {
  const QFormerPass pass = bridge.qformer->pass(compute);
  std::optional<TextRows> instructions;
  if (batch.instructions.ids.defined()) {
    const at::Tensor& lengths = batch.instructions.lengths;
    instructions = pack_text(batch.instructions.ids, {lengths.const_data_ptr<std::int64_t>(),
                                                      static_cast<std::size_t>(lengths.numel())});
  }
  return soft_prompts(bridge, pass, pass.project_image(features, bridge.feature_norm()),
                      instructions);
}

}  // namespace

SpokenData::SpokenData(const Recipe& recipe, std::shared_ptr<const Bridge> bridge,
                       const StageTokenizers& tokenizers, PromptFormat format, Dataset train,
                       Dataset validation, const Ranks* ranks, Streams streams)
    : recipe_(recipe),
      bridge_(std::move(bridge)),
      train_(std::move(train)),
      validation_(std::move(validation)),
      ranks_(ranks),
      streams_(streams) {
  format.max_prompt_tokens = format.max_target_tokens = recipe.data.max_text_tokens;
  const Tokenizer* reads = bridge_->config().reads_prompt ? &tokenizers.qformer : nullptr;
  prompts_.emplace(train_.records, tokenizers.language, format, reads);
  if (recipe.objectives.contrast > 0) {
    contrast_.emplace(recipe, bridge_, train_.records, tokenizers.qformer);
  }
  if (validation_.empty()) return;
  held_out_.emplace(validation_.records, tokenizers.language, format, reads);
}

std::uint64_t SpokenData::data_seed() const {
  return derive_seed(static_cast<std::uint64_t>(recipe_.seed), streams_.data);
}

void SpokenData::read_ahead(std::span<const std::int64_t> items, std::int64_t step) const {
  train_.read_ahead(items, data_seed(), step);
}

SpokenBatch SpokenData::batch(std::span<const std::int64_t> items, std::int64_t step,
                              std::int64_t part) const {
  const std::uint64_t data_seed = this->data_seed();
  PromptBatch prompts = prompts_->batch(items, data_seed, step);
  at::Tensor features = train_.gather(prompts.pictures, data_seed, step);
  at::Tensor soft = soft_prompts_of(*bridge_, prompts, features, compute(step, part));
  return {std::move(prompts), std::move(features), std::move(soft)};
}

ComputeOptions SpokenData::compute(std::int64_t step, std::int64_t part) const {
  const auto seed = static_cast<std::uint64_t>(recipe_.seed);
  std::uint64_t dropout_seed = part_seed(seed, streams_.dropout, step, part);
  if (ranks_) dropout_seed = derive_seed(dropout_seed, ranks_->rank());
  return {compute_type(recipe_), /*training=*/true, dropout_seed};
}

void SpokenData::add_contrast(TaskLoss& total, const SpokenBatch& batch,
                              std::span<const std::int64_t> items, std::int64_t step,
                              std::int64_t part) const {
  if (!contrast_) return;
  ComputeOptions other = compute(step, part);
  other.seed = derive_seed(other.seed, kContrastPurpose);
  total.add(contrast_->loss(items, batch.features, other, step, ranks_));
}

std::int64_t SpokenData::first_row(const SpokenBatch& batch) const {
  return ranks_ ? ranks_->rank() * batch.soft.size(0) : 0;
}

MeanMeters SpokenData::validate(const LossOf& loss_of) const {
  if (!held_out_) return {};
  return mean_loss(held_out_->size(), samples_at_once(recipe_, 1), ranks_, [&](const auto& items) {
    PromptBatch prompts = held_out_->batch(items, 0, std::nullopt);
    at::Tensor features = validation_.gather(prompts.pictures, 0, std::nullopt);
    at::Tensor soft = soft_prompts_of(*bridge_, prompts, features,
                                      {compute_type(recipe_), /*training=*/false, 0});
    return loss_of({std::move(prompts), std::move(features), std::move(soft)}, items);
  });
}

}  // namespace blip2
