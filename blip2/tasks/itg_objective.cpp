#include "blip2/costs/step_estimate.h"
#include "blip2/tasks/stage1_objectives.h"

namespace blip2 {

// Image-grounded text generation: the head over the vocabulary, at each word of each text.
Stage1Objective itg_objective() {
  return {.schedule = kItg,
          .passes = {.generation = true},
          .reach = {.last_text_layer = true, .word_head = true},
          .loss = [](const Stage1Step& step, const Stage1Setting&) -> ObjectiveLoss {
            const at::Tensor& targets = step.generation().targets;
            const double share = share_of(step.options().ranks, targets.numel());
            if (!step.generated().defined()) return {.loss = step.zero_loss(), .share = share};
            const TokenLoss words = step.word_loss(step.pass(), step.generated(), targets,
                                                   step.options().label_smoothing);
            return {.loss = words.loss, .accuracy = words.accuracy, .share = share};
          },
          .cost = [](StepEstimate& estimate) { estimate.add_words(estimate.generated_words()); }};
}

}  // namespace blip2
