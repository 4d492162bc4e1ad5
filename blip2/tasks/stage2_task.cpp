#include "blip2/tasks/stage2_task.h"

#include <algorithm>
#include <utility>

#include "blip2/base/random.h"
#include "blip2/data/batch.h"
#include "blip2/model/prompts.h"
#include "blip2/model/soft_prompts.h"
#include "blip2/recipe/compute_type.h"
#include "blip2/tasks/caption_contrast_internal.h"
#include "blip2/tasks/meters.h"
#include "blip2/tasks/stage2_objectives.h"
#include "blip2/tasks/words.h"

namespace blip2 {
namespace {

// The dropout of the contrast's passes, beside that of the soft prompts.
constexpr std::uint64_t kContrastPurpose = 32;
// That of the language model's adapters.
constexpr std::uint64_t kAdapterPurpose = 33;

// Streams of a step's randomness behind the language model's: of texts and views, of dropout, and
// of the draws of each objective that the language model can be trained by. (Language modelling,
// the first of them, draws nothing.)
enum : std::uint64_t { kData = 1, kDropout, kDraws = kDropout };

// The mean losses over the tokens of captions and of answers, if the batch has any. `together`:
// other processes have losses too, so each mean is weighted by its number of tokens.
Meters meters_by_text(const at::Tensor& losses, const PromptBatch& texts, bool together) {
  const auto* loss = losses.const_data_ptr<float>();
  double sums[2] = {0, 0}, counts[2] = {0, 0};
  for (std::size_t i = 0; i < texts.targets.size(); ++i) {
    const bool answer = texts.questions[i];
    for (std::size_t t = 0; t < texts.targets[i].size(); ++t) {
      sums[answer] += static_cast<double>(*loss++);
      counts[answer] += 1;
    }
  }
  Meters meters;
  constexpr const char* kNames[2] = {"loss_captions", "loss_answers"};
  for (const int kind : {0, 1}) {
    if (counts[kind] == 0) continue;
    meters.push_back({kNames[kind], sums[kind] / counts[kind], together ? counts[kind] : 1});
  }
  return meters;
}

// The rows of a batch as plain language modelling teaches them.
std::vector<ForcedRow> plain_rows(const PromptBatch& texts) {
  std::vector<ForcedRow> rows;
  for (std::size_t i = 0; i < texts.targets.size(); ++i) {
    rows.push_back({texts.prompts[i], texts.targets[i], texts.targets[i]});
  }
  return rows;
}

PromptFormat cut_format(PromptFormat format, std::int64_t max_tokens) {
  format.max_prompt_tokens = format.max_target_tokens = max_tokens;
  return format;
}

class Stage2Task : public TrainingTask {
 public:
  Stage2Task(const Recipe& recipe, std::shared_ptr<const Bridge> bridge, FrozenLanguage language,
             const StageTokenizers& tokenizers, std::span<const Record> train,
             std::span<const Record> validation, std::shared_ptr<TextStates> states,
             const Ranks* ranks)
      : recipe_(recipe),
        bridge_(std::move(bridge)),
        language_(std::move(language)),
        traits_(language_.traits()),
        texts_(texts_of(train, tokenizers)),
        held_out_(texts_of(validation, tokenizers)),
        states_(std::move(states)),
        ranks_(ranks) {
    const ObjectivesRecipe& objectives = recipe.objectives;
    if (objectives.contrast > 0) contrast_.emplace(recipe, bridge_, train, tokenizers.qformer);
    if (objectives.words > 0) {
      const auto embed = [this](const at::Tensor& ids) { return language_.embed(ids); };
      words_.emplace(texts_, embed, objectives);
    }
    if (objectives.cmlm > 0) mask_token_ = answer_mask(tokenizers.language);
    for (const PromptData* texts : {&texts_, &held_out_}) {
      if (states_) states_->prepare(read_alone(texts->prompts()));
    }
  }

  std::uint64_t data_seed() const override {
    return derive_seed(static_cast<std::uint64_t>(recipe_.seed), traits_.stream + kData);
  }

  TaskLoss train(const TaskBatch& batch, std::int64_t step, std::int64_t part) override {
    const PromptBatch texts = texts_.batch(batch.items, data_seed(), step);
    const ComputeOptions compute = compute_of(step, part);
    const at::Tensor soft = soft_prompts(*bridge_, batch.features, instructions_of(texts), compute);
    const auto weights = stage2_weights(recipe_.objectives, step);
    TaskLoss total;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (weights[i] == 0) continue;
      const at::Tensor losses = language_.losses(soft, drawn_rows(i, texts, step, part),
                                                 derive_seed(compute.seed, kAdapterPurpose, i));
      total.add(weighted_loss(i, weights[i], losses, texts));
    }
    if (words_) total.add(words_->loss(soft, texts, ranks_));
    if (contrast_) total.add(contrast_loss(batch, compute, step));
    return total;
  }

  TaskLoss validate(const TaskBatch& batch) override {
    const PromptBatch texts = held_out_.batch(batch.items, 0, std::nullopt);
    const at::Tensor soft = soft_prompts(*bridge_, batch.features, instructions_of(texts),
                                         {compute_type(recipe_), /*training=*/false, 0});
    const at::Tensor losses = language_.losses(soft, plain_rows(texts));
    TaskLoss loss{losses.mean(), {}};
    if (traits_.tells_texts_apart) loss.meters = meters_by_text(losses, texts, /*together=*/false);
    if (words_) {
      const TaskLoss words = words_->loss(soft, texts);
      loss.meters.insert(loss.meters.end(), words.meters.begin(), words.meters.end());
    }
    return loss;
  }

 private:
  PromptData texts_of(std::span<const Record> records, const StageTokenizers& tokenizers) const {
    const PromptFormat format = cut_format(prompt_format(bridge_->config(), tokenizers.language),
                                           recipe_.data.max_text_tokens);
    return {records, tokenizers.language, format,
            bridge_->config().reads_prompt ? &tokenizers.qformer : nullptr};
  }

  // Prompts as the language model reads them for the Q-Former.
  std::vector<TokenIds> read_alone(std::vector<TokenIds> prompts) const {
    for (TokenIds& prompt : prompts) {
      prompt = blip2::read_alone(*bridge_->config().language, std::move(prompt));
    }
    return prompts;
  }

  Instructions instructions_of(const PromptBatch& texts) const {
    Instructions read{texts.instructions, {}};
    if (states_) read.language = states_->of(read_alone(texts.prompts));
    return read;
  }

  ComputeOptions compute_of(std::int64_t step, std::int64_t part) const {
    const auto seed = static_cast<std::uint64_t>(recipe_.seed);
    std::uint64_t dropout_seed = part_seed(seed, traits_.stream + kDropout, step, part);
    if (ranks_) dropout_seed = derive_seed(dropout_seed, ranks_->rank());
    return {compute_type(recipe_), /*training=*/true, dropout_seed};
  }

  std::uint64_t draw_stream(std::size_t objective) const {
    const auto before = stage2_objectives().first(objective);
    return traits_.stream + kDraws +
           static_cast<std::uint64_t>(std::ranges::count_if(
               before, [&](const Stage2Objective& o) { return can_train(o, traits_); }));
  }

  // The rows of a batch as an objective teaches them in a step.
  std::vector<ForcedRow> drawn_rows(std::size_t objective, const PromptBatch& texts,
                                    std::int64_t step, std::int64_t part) const {
    const std::uint64_t seed =
        part_seed(static_cast<std::uint64_t>(recipe_.seed), draw_stream(objective), step, part);
    auto rows = plain_rows(texts);
    const std::int64_t first = ranks_ ? ranks_->rank() * std::ssize(rows) : 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto place = first + static_cast<std::int64_t>(i);
      rows[i] = stage2_objectives()[objective].row(
          std::move(rows[i]), {texts.questions[i], mask_token_, derive_seed(seed, place)});
    }
    return rows;
  }

  TaskLoss weighted_loss(std::size_t objective, double weight, const at::Tensor& losses,
                         const PromptBatch& texts) const {
    const std::string name = stage2_objectives()[objective].name;
    const at::Tensor loss = losses.mean();
    const double share = share_of(ranks_, losses.numel());
    Meters meters{{name, loss.item<double>(), share}};
    if (name == "lm" && traits_.tells_texts_apart) {
      meters = meters_by_text(losses, texts, ranks_ != nullptr);
    }
    return {weight * share * loss, std::move(meters)};
  }

  TaskLoss contrast_loss(const TaskBatch& batch, ComputeOptions compute, std::int64_t step) const {
    compute.seed = derive_seed(compute.seed, kContrastPurpose);
    return contrast_->loss(batch.items, batch.features, compute, step, ranks_);
  }

  Recipe recipe_;
  std::shared_ptr<const Bridge> bridge_;
  FrozenLanguage language_;
  const LanguageTraits& traits_;
  PromptData texts_, held_out_;
  std::optional<CaptionContrast> contrast_;
  std::optional<WordsObjective> words_;
  std::int64_t mask_token_ = -1;
  std::shared_ptr<TextStates> states_;  // nullptr: the Q-Former does not read them
  const Ranks* ranks_;
};

}  // namespace

std::unique_ptr<TrainingTask> make_stage2_task(
    const Recipe& recipe, std::shared_ptr<const Bridge> bridge, FrozenLanguage language,
    const StageTokenizers& tokenizers, std::span<const Record> train,
    std::span<const Record> validation, std::shared_ptr<TextStates> states, const Ranks* ranks) {
  return std::make_unique<Stage2Task>(recipe, std::move(bridge), std::move(language), tokenizers,
                                      train, validation, std::move(states), ranks);
}

}  // namespace blip2
