#include "blip2/training/stage2_task.h"

#include <utility>

#include "blip2/base/random.h"
#include "blip2/data/batch.h"
#include "blip2/model/prompts.h"
#include "blip2/training/meters.h"
#include "blip2/training/stage2_objectives.h"
#include "blip2/training/words.h"

namespace blip2 {
namespace {

// The rows of a batch as plain language modelling teaches them.
std::vector<ForcedRow> plain_rows(const PromptBatch& batch) {
  const auto ids = batch.ids.accessor<std::int64_t, 2>();
  const auto* prompt = batch.prompt_lengths.const_data_ptr<std::int64_t>();
  const auto* length = batch.lengths.const_data_ptr<std::int64_t>();
  std::vector<ForcedRow> rows;
  for (std::int64_t i = 0; i < ids.size(0); ++i) {
    const std::int64_t* begin = ids[i].data();
    const std::vector<std::int64_t> answer(begin + prompt[i], begin + length[i]);
    rows.push_back({{begin, begin + prompt[i]}, answer, answer});
  }
  return rows;
}

// The mean losses of plain captions' and answers' tokens, of those that there are. Beside those of
// other processes (`together`) each counts by its tokens.
Meters meters_by_text(const at::Tensor& losses, const std::vector<ForcedRow>& rows,
                      const std::vector<bool>& questions, bool together) {
  const auto* loss = losses.const_data_ptr<float>();
  double sums[2] = {0, 0}, counts[2] = {0, 0};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t t = 0; t < rows[i].targets.size(); ++t) {
      sums[questions[i]] += static_cast<double>(*loss++);
      counts[questions[i]] += 1;
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

// What has always been different where prompts go to an encoder, so that runs go on as they began:
// the streams of a step's randomness (of texts and views, dropout, and each objective's draws), and
// whether the log shows language modelling as the losses of captions and of answers.
struct Habits {
  std::uint64_t data, dropout, draws[3];
  bool by_text;
};
constexpr Habits kWithoutEncoder{21, 22, {0, 0, 23}, true},
    kWithEncoder{31, 32, {0, 33, 34}, false};

class Stage2Task : public TrainingTask {
 public:
  Stage2Task(const Recipe& recipe, const std::shared_ptr<Bridge>& bridge, FrozenLanguage language,
             const StageTokenizers& tokenizers, Dataset train, Dataset validation,
             const Ranks* ranks)
      : recipe_(recipe),
        language_(std::move(language)),
        habits_(language_.has_encoder() ? kWithEncoder : kWithoutEncoder),
        data_(recipe, bridge, tokenizers, prompt_format(bridge->config(), tokenizers.language),
              std::move(train), std::move(validation), ranks, {habits_.data, habits_.dropout}) {
    const ObjectivesRecipe& objectives = recipe.objectives;
    if (objectives.words > 0) words_.emplace(data_.prompts(), language_, objectives);
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
    const auto weights = stage2_weights(recipe_.objectives, step);
    TaskLoss total;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (weights[i] == 0) continue;
      const auto rows = drawn_rows(i, batch, items, step, part);
      total.add(weighted_loss(i, weights[i], language_.losses(batch.soft, rows), rows,
                              questions_of(data_.train(), items)));
    }
    if (words_) total.add(words_->loss(batch.soft, batch.prompts, data_.ranks()));
    data_.add_contrast(total, batch, items, step, part);
    return total;
  }

  MeanMeters validate() override {
    return data_.validate([&](const SpokenBatch& batch, std::span<const std::int64_t> items) {
      const auto rows = plain_rows(batch.prompts);
      const at::Tensor losses = language_.losses(batch.soft, rows);
      TaskLoss loss{losses.mean(), {}};
      if (habits_.by_text) {
        loss.meters = meters_by_text(losses, rows, questions_of(data_.validation(), items), false);
      }
      if (words_) {
        const TaskLoss words = words_->loss(batch.soft, batch.prompts);
        loss.meters.insert(loss.meters.end(), words.meters.begin(), words.meters.end());
      }
      return loss;
    });
  }

 private:
  static std::vector<bool> questions_of(const Dataset& data, std::span<const std::int64_t> items) {
    std::vector<bool> questions;
    for (const std::int64_t item : items) {
      questions.push_back(data.records[static_cast<std::size_t>(item)].is_question());
    }
    return questions;
  }

  // The rows of a batch as an objective teaches them in a step.
  std::vector<ForcedRow> drawn_rows(std::size_t objective, const SpokenBatch& batch,
                                    std::span<const std::int64_t> items, std::int64_t step,
                                    std::int64_t part) const {
    const std::uint64_t seed =
        part_seed(static_cast<std::uint64_t>(recipe_.seed), habits_.draws[objective], step, part);
    const auto questions = questions_of(data_.train(), items);
    auto rows = plain_rows(batch.prompts);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto place = data_.first_row(batch) + static_cast<std::int64_t>(i);
      rows[i] = stage2_objectives()[objective].row(
          std::move(rows[i]), {questions[i], mask_token_, derive_seed(seed, place)});
    }
    return rows;
  }

  TaskLoss weighted_loss(std::size_t objective, double weight, const at::Tensor& losses,
                         const std::vector<ForcedRow>& rows,
                         const std::vector<bool>& questions) const {
    const Ranks* ranks = data_.ranks();
    const std::string name = stage2_objectives()[objective].name;
    const at::Tensor loss = losses.mean();
    const double share = share_of(ranks, losses.numel());
    Meters meters{{name, loss.item<double>(), share}};
    if (name == "lm" && habits_.by_text) {
      meters = meters_by_text(losses.detach(), rows, questions, ranks != nullptr);
    }
    return {weight * share * loss, std::move(meters)};
  }

  Recipe recipe_;
  FrozenLanguage language_;
  const Habits& habits_;
  SpokenData data_;
  std::optional<WordsObjective> words_;
  std::int64_t mask_token_ = -1;
};

}  // namespace

std::unique_ptr<TrainingTask> make_stage2_task(const Recipe& recipe, std::shared_ptr<Bridge> bridge,
                                               FrozenLanguage language,
                                               const StageTokenizers& tokenizers, Dataset train,
                                               Dataset validation, const Ranks* ranks) {
  return std::make_unique<Stage2Task>(recipe, bridge, std::move(language), tokenizers,
                                      std::move(train), std::move(validation), ranks);
}

}  // namespace blip2
