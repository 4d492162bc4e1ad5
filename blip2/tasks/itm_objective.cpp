#include "blip2/costs/step_estimate.h"
#include "blip2/tasks/stage1_objectives.h"

namespace blip2 {

// Image-text matching: a head of two outputs over the queries of the shared pairs.
Stage1Objective itm_objective() {
  return {.schedule = kItm,
          .passes = {.pairs = true},
          .reach = {.matching_head = true},
          .loss = [](const Stage1Step& step, const Stage1Setting&) -> ObjectiveLoss {
            const at::Tensor& labels = step.triplets().labels;
            const double share = share_of(step.options().ranks, labels.numel());
            const MatchingLoss matching = matching_loss(
                matching_logits(step.paired_queries(), step.parts().heads.itm_head), labels,
                /*others_differ=*/step.negatives().any());
            return {.loss = matching.loss, .accuracy = matching.accuracy, .share = share};
          },
          .cost = [](StepEstimate& estimate) { estimate.add_head(3 * estimate.samples(), 2); }};
}

}  // namespace blip2
