#pragma once

#include <cstdint>
#include <vector>

#include "blip2/costs/language_cost.h"
#include "blip2/costs/qformer_cost.h"
#include "blip2/costs/step_cost.h"
#include "blip2/objectives/stage1.h"
#include "blip2/qformer/packed_rows.h"

namespace blip2 {

// Adds up the cost of a step (StepCost): each objective adds what it computes.
class StepEstimate {
 public:
  // `texts` and everything that `model` refers to must outlive the estimate. It begins with the
  // cost that every step has: the pictures' features, keys and values.
  StepEstimate(const StepModel& model, const StepTexts& texts);

  const Recipe& recipe() const { return recipe_; }
  const StepTexts& texts() const { return texts_; }
  double samples() const { return static_cast<double>(texts_.samples); }
  // Tokens that the Q-Former reads, and tokens that text generation predicts.
  double text_tokens() const { return total_of(texts_.qformer); }
  double generated_words() const;

  // Adds the passes that objectives of stage 1 share, as Stage1Step computes them.
  void add_shared(const SharedPasses& passes);
  // Adds a pass over each picture with its own text.
  void add_own_pairs(PassRow::Text wanted);
  // Adds a pass over the queries alone.
  void add_queries();
  // Adds a linear head of the Q-Former on `rows` rows.
  void add_head(double rows, double width);
  // Adds the head over the vocabulary, whose gradients are computed together with the loss.
  void add_words(double targets);
  // add_projection: the queries' projection to soft prompts. add_word_targets: the comparison of
  // soft prompts with the words objective's targets.
  void add_projection();
  void add_word_targets();
  // Adds image-text contrast on captions in stage 2.
  void add_caption_contrast();
  // Adds a pass of the language model over `texts`; language_texts() are those of plain language
  // modelling.
  void add_language(const LanguageTexts& texts);
  LanguageTexts language_texts() const;

  StepCost result() const;

 private:
  double vocabulary() const { return static_cast<double>(c_.qformer.vocab_size); }
  void add_pictures();
  void add_encoder_training(double rows);
  void add_unimodal(const SharedPasses& passes);
  void add_comparison(double pairs, double processes, bool trains);
  void add_joint(const SharedPasses& passes);
  void run_reading(std::vector<PassRow> rows, const std::vector<std::int64_t>& texts);
  void add_matched_rows(std::vector<PassRow>& rows, std::vector<std::int64_t>& lengths) const;

  const Blip2Config& c_;
  const Recipe& recipe_;
  const EncoderSize encoder_;
  double word_targets_;
  std::int64_t processes_;
  const StepTexts& texts_;
  const double type_, d_;
  QFormerCost passes_;
  double language_working_ = 0;
  StepCost cost_;
};

}  // namespace blip2
