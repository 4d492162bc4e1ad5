#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/objectives/mlm.h"
#include "blip2/objectives/stage1.h"
#include "blip2/recipe/recipe.h"
#include "blip2/tasks/task.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

class StepEstimate;

// Settings that objectives of stage 1 read in addition to the step.
struct Stage1Setting {
  ObjectivesRecipe recipe;
  std::int64_t vocabulary = 0;        // size of the Q-Former's vocabulary
  std::int64_t mask_token = -1;       // [MASK]; -1: the tokenizer has none
  std::vector<std::int64_t> special;  // ids of all special tokens

  WordMasking masking() const { return {mask_token, vocabulary, special, recipe.mlm_share}; }
};
Stage1Setting stage1_setting(const ObjectivesRecipe& recipe, const Tokenizer& qformer,
                             std::int64_t vocabulary);

// The parts of the bridge that an objective's gradient reaches, in addition to the parts that the
// gradient of every objective reaches.
struct Stage1Reach {
  bool last_text_layer = false, projections = false, matching_head = false, word_head = false;
};

// An objective of stage 1: its loss and the cost of the loss. A new objective is a source with a
// function that returns its row, its keys in objectives_recipe.h, and a line in the list.
struct Stage1Objective {
  ObjectiveSchedule schedule;  // its name, its weight and the steps that have it
  SharedPasses passes;         // the shared passes that it reads
  Stage1Reach reach;
  ObjectiveLoss (*loss)(const Stage1Step& step, const Stage1Setting& setting);
  // Adds the cost of what the loss computes in addition to the shared passes.
  void (*cost)(StepEstimate& estimate);
  // Error if the setting lacks what the objective needs.
  void (*check)(const Stage1Setting& setting) = nullptr;
  // What it reads of a language model, if the Q-Former does; nullptr: nothing.
  LanguageStates Stage1Language::*language = nullptr;
};
std::span<const Stage1Objective> stage1_objectives();

// The weights of stage1_objectives(), in their order: the recipe's weights, or the weights in a
// step. In a step an objective that starts later or pauses has weight 0, and if objectives
// alternate, all but one have.
std::vector<double> stage1_weights(const ObjectivesRecipe& recipe);
std::vector<double> stage1_weights(const ObjectivesRecipe& recipe, std::int64_t step);

// The passes and parts that the objectives with weights above 0 need together.
SharedPasses shared_passes(std::span<const double> weights);
Stage1Reach stage1_reach(std::span<const double> weights);

// Whether an objective with a weight above 0 reads a language model's states, or `what` of them.
bool reads_language(std::span<const double> weights,
                    LanguageStates Stage1Language::*what = nullptr);

// The weighted sum of the step's losses, with a meter for each loss and each accuracy.
TaskLoss stage1_loss(const Stage1Step& step, const Stage1Setting& setting,
                     std::span<const double> weights);

}  // namespace blip2
