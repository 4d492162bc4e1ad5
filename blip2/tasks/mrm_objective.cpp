#include "blip2/costs/step_estimate.h"
#include "blip2/objectives/mrm.h"
#include "blip2/tasks/stage1_objectives.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kRegionsPurpose = 9;

ObjectiveLoss hidden_regions_loss(const Stage1Step& step, const Stage1Setting& setting) {
  const ImageKeysValues& images = step.images();
  const at::Tensor& queries = step.parts().query_tokens;
  const HiddenRegions regions =
      hide_regions(images.positions, queries.size(1), setting.recipe.mrm_share,
                   step.seed(kRegionsPurpose), step.first_row());
  const double share = share_of(step.options().ranks, regions.targets());
  std::optional<LanguageKeysValues> language;
  if (step.language()) language = step.language_keys(step.language()->plain);
  const JointStates joint =
      step.pass()
          .reseeded(kRegionsPurpose)
          .encode_multimodal(queries, visible_part(images, regions), step.text(), step.own_pairs(),
                             /*with_text=*/false, language ? &*language : nullptr);
  const TokenLoss loss = region_loss(joint.queries, images, regions);
  return {.loss = loss.loss,
          .accuracy = loss.accuracy,
          .share = share,
          .drawn = {{"mrm_hidden", regions.hidden}, {"mrm_queries", regions.queries}}};
}

}  // namespace

// Masked region modelling: a pass over texts and the visible parts of pictures; it has no head.
Stage1Objective mrm_objective() {
  return {.schedule = kMrm,
          .passes = {},
          .reach = {},
          .loss = hidden_regions_loss,
          .cost = [](StepEstimate& estimate) { estimate.add_own_pairs(PassRow::Text::none); },
          .language = &Stage1Language::plain};
}

}  // namespace blip2
