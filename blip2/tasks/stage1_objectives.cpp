#include "blip2/tasks/stage1_objectives.h"

#include <array>
#include <string>

#include "blip2/tasks/alternation_internal.h"

namespace blip2 {

// Each in the source of its name.
Stage1Objective itc_objective();
Stage1Objective itm_objective();
Stage1Objective itg_objective();
Stage1Objective mlm_objective();
Stage1Objective mrm_objective();

std::span<const Stage1Objective> stage1_objectives() {
  static const std::array all{itc_objective(), itm_objective(), itg_objective(), mlm_objective(),
                              mrm_objective()};
  return all;
}

Stage1Setting stage1_setting(const ObjectivesRecipe& recipe, const Tokenizer& qformer,
                             std::int64_t vocabulary) {
  const SpecialTokens special = qformer.special();
  Stage1Setting setting{recipe, vocabulary, special.mask.value_or(-1), {}};
  for (const auto& id : {special.bos, special.eos, special.pad, special.unk, special.cls,
                         special.sep, special.mask, special.dec}) {
    if (id) setting.special.push_back(*id);
  }
  return setting;
}

std::vector<double> stage1_weights(const ObjectivesRecipe& recipe) {
  std::vector<double> weights;
  for (const ObjectiveSchedule& schedule : kStage1Schedules) {
    weights.push_back(recipe.*schedule.weight);
  }
  return weights;
}

std::vector<double> stage1_weights(const ObjectivesRecipe& recipe, std::int64_t step) {
  std::vector<double> weights;
  for (const ObjectiveSchedule& schedule : kStage1Schedules) {
    weights.push_back(schedule.takes(recipe, step) ? recipe.*schedule.weight : 0);
  }
  return step_weights(weights, recipe.alternate, step);
}

SharedPasses shared_passes(std::span<const double> weights) {
  SharedPasses passes;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > 0) passes |= stage1_objectives()[i].passes;
  }
  return passes;
}

Stage1Reach stage1_reach(std::span<const double> weights) {
  Stage1Reach reach;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    const Stage1Reach& one = stage1_objectives()[i].reach;
    reach.last_text_layer |= one.last_text_layer;
    reach.projections |= one.projections;
    reach.matching_head |= one.matching_head;
    reach.word_head |= one.word_head;
  }
  return reach;
}

bool reads_language(std::span<const double> weights, LanguageStates Stage1Language::*what) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto reads = stage1_objectives()[i].language;
    if (weights[i] > 0 && reads && (!what || reads == what)) return true;
  }
  return false;
}

TaskLoss stage1_loss(const Stage1Step& step, const Stage1Setting& setting,
                     std::span<const double> weights) {
  std::vector<ObjectiveLoss> losses(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > 0) losses[i] = stage1_objectives()[i].loss(step, setting);
  }
  TaskLoss total;
  Meters accuracies;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    const std::string name = stage1_objectives()[i].schedule.name;
    const ObjectiveLoss& one = losses[i];
    total.add({weights[i] * one.share * one.loss, {{name, one.loss.item<double>(), one.share}}});
    accuracies.push_back({name + "_accuracy", one.accuracy, one.share});
  }
  total.meters.insert(total.meters.end(), accuracies.begin(), accuracies.end());
  return total;
}

}  // namespace blip2
