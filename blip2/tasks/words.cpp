#include "blip2/tasks/words.h"

#include <algorithm>

namespace blip2 {
namespace {

WordTargets make_targets(const PromptData& data, const EmbedTokens& embed,
                         const ObjectivesRecipe& recipe) {
  const std::vector<std::int64_t> tokens = data.target_tokens(recipe.words_lead);
  return {tokens, embed(torch::tensor(tokens, at::kLong)), recipe.words_sharpness};
}

// The rows' targets, the end token included, after the last `lead` tokens of their prompts.
std::vector<std::vector<std::int64_t>> target_rows(const PromptBatch& batch, std::int64_t lead) {
  std::vector<std::vector<std::int64_t>> rows;
  for (std::size_t i = 0; i < batch.targets.size(); ++i) {
    const auto &prompt = batch.prompts[i], &target = batch.targets[i];
    auto& row = rows.emplace_back(prompt.end() - std::min(lead, std::ssize(prompt)), prompt.end());
    row.insert(row.end(), target.begin(), target.end());
  }
  return rows;
}

}  // namespace

WordsObjective::WordsObjective(const PromptData& data, const EmbedTokens& embed,
                               const ObjectivesRecipe& recipe)
    : weight_(recipe.words),
      label_smoothing_(recipe.label_smoothing),
      lead_(recipe.words_lead),
      targets_(make_targets(data, embed, recipe)) {}

TaskLoss WordsObjective::loss(const at::Tensor& soft, const PromptBatch& batch,
                              const Ranks* ranks) const {
  const at::Tensor places = targets_.places(target_rows(batch, lead_), soft.size(1));
  const TokenLoss words = targets_.loss(soft, places, label_smoothing_);
  const double share = share_of(ranks, words.targets);
  return {weight_ * share * words.loss,
          {{"words", words.loss.item<double>(), share}, {"words_accuracy", words.accuracy, share}}};
}

CaptionWords::CaptionWords(std::span<const Record> records, const Tokenizer& tokenizer,
                           const PromptFormat& format, const EmbedTokens& embed,
                           const ObjectivesRecipe& recipe)
    : captions_(records, tokenizer, format), objective_(captions_, embed, recipe) {}

TaskLoss CaptionWords::loss(const at::Tensor& soft, std::span<const std::int64_t> items,
                            std::uint64_t seed, std::int64_t step, const Ranks* ranks) const {
  return objective_.loss(soft, captions_.batch(items, seed, step), ranks);
}

}  // namespace blip2
