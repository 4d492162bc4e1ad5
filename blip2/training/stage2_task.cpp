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
  Stage2Task(const Recipe& recipe, std::shared_ptr<Bridge> bridge,
             std::shared_ptr<LanguageModel> language, const StageTokenizers& tokenizers,
             Dataset train, Dataset validation, const Ranks* ranks)
      : recipe_(recipe),
        bridge_(std::move(bridge)),
        language_(std::move(language)),
        train_(std::move(train)),
        validation_(std::move(validation)),
        ranks_(ranks) {
    PromptFormat format = prompt_format(bridge_->config(), tokenizers.language);
    format.max_prompt_tokens = format.max_target_tokens = recipe.data.max_text_tokens;
    const Tokenizer* reads = bridge_->config().reads_prompt ? &tokenizers.qformer : nullptr;
    prompts_.emplace(train_.records, tokenizers.language, format, reads);
    if (!validation_.empty()) {
      held_out_.emplace(validation_.records, tokenizers.language, format, reads);
    }
    const ObjectivesRecipe& objectives = recipe.objectives;
    if (objectives.words > 0) words_.emplace(*prompts_, *language_, objectives);
    if (objectives.cmlm > 0) mask_token_ = answer_mask(tokenizers.language);
  }

  const Dataset& data() const override { return train_; }

  SamplerOptions sampling() const override { return {}; }

  TaskLoss train(std::span<const std::int64_t> items, std::int64_t step,
                 std::int64_t part) override {
    const auto seed = static_cast<std::uint64_t>(recipe_.seed);
    const std::uint64_t data_seed = derive_seed(seed, kDataSeed);
    const PromptBatch batch = prompts_->batch(items, data_seed, step);
    const at::Tensor features = train_.gather(batch.pictures, data_seed, step);
    std::uint64_t dropout_seed = part_seed(seed, kStepSeed, step, part);
    if (ranks_) dropout_seed = derive_seed(dropout_seed, ranks_->rank());
    const ComputeOptions compute{compute_type(recipe_), true, dropout_seed};
    const at::Tensor soft = see(*bridge_, batch, features, compute);
    const auto [lm, cmlm] = weights_at(step);
    TaskLoss total{at::zeros({}), {}};
    if (lm > 0 && step >= recipe_.objectives.lm_from) {
      total = language_loss(batch, soft, items, train_.records, ranks_);
      if (lm != 1) total.loss = lm * total.loss;
    }
    if (cmlm > 0) add_masked(total, cmlm, batch, soft, part_seed(seed, kMaskSeed, step, part));
    if (words_) {
      const TaskLoss words = words_->loss(soft, batch, ranks_);
      total.loss = total.loss + words.loss;
      total.meters.insert(total.meters.end(), words.meters.begin(), words.meters.end());
    }
    return total;
  }

  MeanMeters validate() override {
    if (!held_out_) return {};
    const at::NoGradGuard no_grad;
    MeanMeters mean;
    for (const auto& items : own_batches(held_out_->size(), recipe_.batch_size, ranks_)) {
      const PromptBatch batch = held_out_->batch(items, 0, std::nullopt);
      const at::Tensor features = validation_.gather(batch.pictures, 0, std::nullopt);
      const ComputeOptions compute{compute_type(recipe_), false, 0};
      const at::Tensor soft = see(*bridge_, batch, features, compute);
      TaskLoss loss = language_loss(batch, soft, items, validation_.records, nullptr);
      if (words_) {
        const TaskLoss words = words_->loss(soft, batch);
        loss.meters.insert(loss.meters.end(), words.meters.begin(), words.meters.end());
      }
      mean.add(loss.loss.item<double>(), loss.meters, static_cast<double>(items.size()));
    }
    return mean;
  }

 private:
  std::array<double, 2> weights_at(std::int64_t step) const {
    const ObjectivesRecipe& recipe = recipe_.objectives;
    return step_weights(std::array{recipe.lm, recipe.cmlm}, recipe.alternate, step);
  }

  // Adds conditional masked language modelling of all rows.
  void add_masked(TaskLoss& total, double weight, const PromptBatch& batch, const at::Tensor& soft,
                  std::uint64_t seed) const {
    const std::int64_t first = ranks_ ? ranks_->rank() * soft.size(0) : 0;
    const auto rows = masked_rows(batch, mask_token_, seed, first);
    const at::Tensor losses = spoken_losses(*language_, soft, rows), loss = losses.mean();
    const double share = share_of(ranks_, losses.numel());
    total.loss = total.loss + weight * share * loss;
    total.meters.push_back({"cmlm", loss.item<double>(), share});
  }

  // Of a batch with its soft prompts [B, Q, width].
  TaskLoss language_loss(const PromptBatch& batch, const at::Tensor& soft,
                         std::span<const std::int64_t> items, const std::vector<Record>& records,
                         const Ranks* ranks) const {
    const auto input = language_input(*language_, soft, tokens_read(batch));
    const Targets targets = find_targets(batch, input.offsets, soft.size(1));
    const at::Tensor hidden = language_->forward_packed(input.embeds, input.offsets);
    const at::Tensor losses =
        language_->token_loss(hidden.index_select(0, torch::tensor(targets.places, at::kLong)),
                              torch::tensor(targets.ids, at::kLong));
    const at::Tensor loss = losses.mean();
    return {ranks ? share_of(ranks, losses.numel()) * loss : loss,
            meters_of(losses, targets, items, records, ranks != nullptr)};
  }

  Recipe recipe_;
  std::shared_ptr<Bridge> bridge_;
  std::shared_ptr<LanguageModel> language_;
  Dataset train_, validation_;
  std::optional<PromptData> prompts_, held_out_;
  std::optional<WordsLesson> words_;
  std::int64_t mask_token_ = -1;
  const Ranks* ranks_;
};

}  // namespace

std::unique_ptr<TrainingTask> make_stage2_task(const Recipe& recipe, std::shared_ptr<Bridge> bridge,
                                               std::shared_ptr<LanguageModel> language,
                                               const StageTokenizers& tokenizers, Dataset train,
                                               Dataset validation, const Ranks* ranks) {
  return std::make_unique<Stage2Task>(recipe, std::move(bridge), std::move(language), tokenizers,
                                      std::move(train), std::move(validation), ranks);
}

}  // namespace blip2
