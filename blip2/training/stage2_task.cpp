#include "blip2/training/stage2_task.h"

#include <array>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/data/batch.h"
#include "blip2/model/prompts.h"
#include "blip2/model/soft_prompts.h"
#include "blip2/training/alternation.h"
#include "blip2/training/lessons.h"
#include "blip2/training/meters.h"
#include "blip2/training/words.h"

namespace blip2 {
namespace {

// Streams of a step's randomness.
enum : std::uint64_t { kDataSeed = 21, kStepSeed, kMaskSeed };

using Ids = std::vector<std::int64_t>;

// The tokens of each row that the language model reads: the last one predicts nothing.
std::vector<Ids> tokens_read(const PromptBatch& batch) {
  const auto ids = batch.ids.accessor<std::int64_t, 2>();
  const auto* length = batch.lengths.const_data_ptr<std::int64_t>();
  std::vector<Ids> result;
  for (std::int64_t i = 0; i < ids.size(0); ++i) {
    result.emplace_back(ids[i].data(), ids[i].data() + length[i] - 1);
  }
  return result;
}

// The positions whose next token is a target, those targets, and the rows that they are of.
struct Targets {
  Ids places, ids, rows;
};

Targets find_targets(const PromptBatch& batch, const std::vector<std::int64_t>& offsets,
                     std::int64_t queries) {
  Targets targets;
  const auto ids = batch.ids.accessor<std::int64_t, 2>();
  const auto* prompt = batch.prompt_lengths.const_data_ptr<std::int64_t>();
  const auto* length = batch.lengths.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < ids.size(0); ++i) {
    for (std::int64_t t = prompt[i]; t < length[i]; ++t) {
      targets.places.push_back(offsets[static_cast<std::size_t>(i)] + queries + t - 1);
      targets.ids.push_back(ids[i][t]);
      targets.rows.push_back(i);
    }
  }
  return targets;
}

// The mean losses of captions' and of answers' tokens, of those that there are. Beside those of
// other processes (`together`) each counts by its tokens.
Meters meters_of(const at::Tensor& losses, const Targets& targets,
                 std::span<const std::int64_t> items, const std::vector<Record>& records,
                 bool together) {
  const auto* loss = losses.const_data_ptr<float>();
  double sums[2] = {0, 0}, counts[2] = {0, 0};
  for (std::size_t i = 0; i < targets.rows.size(); ++i) {
    const std::int64_t item = items[static_cast<std::size_t>(targets.rows[i])];
    const bool answer = records[static_cast<std::size_t>(item)].is_question();
    sums[answer] += static_cast<double>(loss[i]);
    counts[answer] += 1;
  }
  Meters meters;
  constexpr const char* kNames[2] = {"loss_captions", "loss_answers"};
  for (const int kind : {0, 1}) {
    if (counts[kind] == 0) continue;
    meters.push_back({kNames[kind], sums[kind] / counts[kind], together ? counts[kind] : 1});
  }
  return meters;
}

class Stage2Task : public TrainingTask {
 public:
  Stage2Task(const Recipe& recipe, const std::shared_ptr<Bridge>& bridge,
             std::shared_ptr<LanguageModel> language, const StageTokenizers& tokenizers,
             Dataset train, Dataset validation, const Ranks* ranks)
      : recipe_(recipe),
        language_(std::move(language)),
        data_(recipe, bridge, tokenizers, prompt_format(bridge->config(), tokenizers.language),
              std::move(train), std::move(validation), ranks, {kDataSeed, kStepSeed}) {
    const ObjectivesRecipe& objectives = recipe.objectives;
    if (objectives.words > 0) words_.emplace(data_.prompts(), *language_, objectives);
    if (objectives.cmlm > 0) mask_token_ = answer_mask(tokenizers.language);
  }

  const Dataset& data() const override { return data_.train(); }

  SamplerOptions sampling() const override { return {}; }
  void read_ahead(std::span<const std::int64_t> items, std::int64_t step) const override {
    data_.read_ahead(items, step);
  }

  TaskLoss train(std::span<const std::int64_t> items, std::int64_t step,
                 std::int64_t part) override {
    const SpokenBatch batch = data_.batch(items, step, part);
    const auto [lm, cmlm] = weights_at(step);
    TaskLoss total{at::zeros({}), {}};
    if (lm > 0 && step >= recipe_.objectives.lm_from) {
      total = language_loss(batch, items, data_.train().records, data_.ranks());
      if (lm != 1) total.loss = lm * total.loss;
    }
    if (cmlm > 0) {
      const auto seed = static_cast<std::uint64_t>(recipe_.seed);
      const auto rows = masked_rows(batch.prompts, mask_token_,
                                    part_seed(seed, kMaskSeed, step, part), data_.first_row(batch));
      data_.add_mean(total, "cmlm", cmlm, spoken_losses(*language_, batch.soft, rows));
    }
    if (words_) total.add(words_->loss(batch.soft, batch.prompts, data_.ranks()));
    data_.add_contrast(total, batch, items, step, part);
    return total;
  }

  MeanMeters validate() override {
    return data_.validate([&](const SpokenBatch& batch, std::span<const std::int64_t> items) {
      TaskLoss loss = language_loss(batch, items, data_.validation().records, nullptr);
      if (words_) {
        const TaskLoss words = words_->loss(batch.soft, batch.prompts);
        loss.meters.insert(loss.meters.end(), words.meters.begin(), words.meters.end());
      }
      return loss;
    });
  }

 private:
  std::array<double, 2> weights_at(std::int64_t step) const {
    const ObjectivesRecipe& recipe = recipe_.objectives;
    return step_weights(std::array{recipe.lm, recipe.cmlm}, recipe.alternate, step);
  }

  TaskLoss language_loss(const SpokenBatch& batch, std::span<const std::int64_t> items,
                         const std::vector<Record>& records, const Ranks* ranks) const {
    const auto input = language_input(*language_, batch.soft, tokens_read(batch.prompts));
    const Targets targets = find_targets(batch.prompts, input.offsets, batch.soft.size(1));
    const at::Tensor hidden = language_->forward_packed(input.embeds, input.offsets);
    const at::Tensor losses =
        language_->token_loss(hidden.index_select(0, torch::tensor(targets.places, at::kLong)),
                              torch::tensor(targets.ids, at::kLong));
    const at::Tensor loss = losses.mean();
    return {ranks ? share_of(ranks, losses.numel()) * loss : loss,
            meters_of(losses, targets, items, records, ranks != nullptr)};
  }

  Recipe recipe_;
  std::shared_ptr<LanguageModel> language_;
  SpokenData data_;
  std::optional<WordsLesson> words_;
  std::int64_t mask_token_ = -1;
};

}  // namespace

std::unique_ptr<TrainingTask> make_stage2_task(const Recipe& recipe, std::shared_ptr<Bridge> bridge,
                                               std::shared_ptr<LanguageModel> language,
                                               const StageTokenizers& tokenizers, Dataset train,
                                               Dataset validation, const Ranks* ranks) {
  return std::make_unique<Stage2Task>(recipe, bridge, std::move(language), tokenizers,
                                      std::move(train), std::move(validation), ranks);
}

}  // namespace blip2
