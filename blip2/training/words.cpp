#include "blip2/training/words.h"

#include <numeric>

namespace blip2 {
namespace {

WordTargets make_targets(const PromptData& data, const LanguageModel& language) {
  const std::vector<std::int64_t> tokens = data.target_tokens();
  return {tokens, language.embed(torch::tensor(tokens, at::kLong))};
}

// The rows' targets, the end token included.
std::vector<std::vector<std::int64_t>> target_rows(const PromptBatch& batch,
                                                   std::span<const std::int64_t> rows) {
  const auto ids = batch.ids.accessor<std::int64_t, 2>();
  const auto* prompt = batch.prompt_lengths.const_data_ptr<std::int64_t>();
  const auto* length = batch.lengths.const_data_ptr<std::int64_t>();
  std::vector<std::vector<std::int64_t>> targets;
  for (const std::int64_t i : rows) {
    targets.emplace_back(ids[i].data() + prompt[i], ids[i].data() + length[i]);
  }
  return targets;
}

}  // namespace

WordsLesson::WordsLesson(const PromptData& data, const LanguageModel& language,
                         const ObjectivesRecipe& recipe)
    : weight_(recipe.words),
      label_smoothing_(recipe.label_smoothing),
      targets_(make_targets(data, language)) {}

TaskLoss WordsLesson::loss(const at::Tensor& soft, const PromptBatch& batch,
                           std::span<const std::int64_t> rows) const {
  const at::Tensor places = targets_.places(target_rows(batch, rows), soft.size(1));
  const at::Tensor chosen =
      soft.index_select(0, torch::tensor(at::IntArrayRef(rows.data(), rows.size()), at::kLong));
  const TokenLoss words = targets_.loss(chosen, places, label_smoothing_);
  return {weight_ * words.loss,
          {{"words", words.loss.item<double>()}, {"words_accuracy", words.accuracy}}};
}

CaptionWords::CaptionWords(std::span<const Record> records, const Tokenizer& tokenizer,
                           const PromptFormat& format, const LanguageModel& language,
                           const ObjectivesRecipe& recipe)
    : captions_(records, tokenizer, format), lesson_(captions_, language, recipe) {}

TaskLoss CaptionWords::loss(const at::Tensor& soft, std::span<const std::int64_t> items,
                            std::uint64_t seed, std::int64_t step) const {
  std::vector<std::int64_t> rows(items.size());
  std::iota(rows.begin(), rows.end(), 0);
  return lesson_.loss(soft, captions_.batch(items, seed, step), rows);
}

}  // namespace blip2
