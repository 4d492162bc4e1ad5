#include "blip2/tasks/stage1_objectives.h"

namespace blip2 {

// Image-text contrast: its loss is made with the shared comparison of queries and texts.
Stage1Objective itc_objective() {
  return {.schedule = kItc,
          .passes = {.contrast = true},
          .reach = {.last_text_layer = true, .projections = true},
          .loss = [](const Stage1Step& step, const Stage1Setting&) -> ObjectiveLoss {
            const Ranks* ranks = step.options().ranks;
            return {.loss = step.contrast().loss,
                    .accuracy = step.contrast().accuracy,
                    .share = ranks ? 1.0 / ranks->size() : 1};
          },
          .cost = [](StepEstimate&) {}};
}

}  // namespace blip2
