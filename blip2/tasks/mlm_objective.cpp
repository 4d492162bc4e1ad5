#include "blip2/base/error.h"
#include "blip2/costs/step_estimate.h"
#include "blip2/objectives/mlm.h"
#include "blip2/tasks/stage1_objectives.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kWordsPurpose = 8;

ObjectiveLoss masked_words_loss(const Stage1Step& step, const Stage1Setting& setting) {
  const WordMasking masking{setting.mask_token, setting.vocabulary, setting.special,
                            setting.recipe.mlm_share};
  const MaskedText masked =
      mask_text(step.text(), masking, step.seed(kWordsPurpose), step.first_row());
  ObjectiveLoss loss;
  loss.share = share_of(step.options().ranks, masked.targets.numel());
  loss.drawn = {{"mlm_ids", masked.inputs.ids},
                {"mlm_places", masked.places},
                {"mlm_targets", masked.targets}};
  if (masked.targets.numel() == 0) {
    loss.loss = step.zero_loss();
    return loss;
  }
  const QFormerPass pass = step.pass().reseeded(kWordsPurpose);
  const JointStates joint =
      pass.encode_multimodal(step.parts().query_tokens, step.images(), masked.inputs,
                             step.own_pairs(), /*with_text=*/true);
  const TokenLoss words = step.word_loss(pass, joint.text.index_select(0, masked.places),
                                         masked.targets, /*label_smoothing=*/0);
  loss.loss = words.loss;
  loss.accuracy = words.accuracy;
  return loss;
}

void require_mask_token(const Stage1Setting& setting) {
  if (setting.mask_token >= 0) return;
  throw Error("expected a [MASK] token for MLM", "the Q-Former's tokenizer");
}

}  // namespace

// Masked language modelling: a pass over pictures and masked texts, the head over the vocabulary.
Stage1Objective mlm_objective() {
  return {.schedule = kMlm,
          .passes = {},
          .reach = {.last_text_layer = true, .word_head = true},
          .loss = masked_words_loss,
          .cost =
              [](StepEstimate& estimate) {
                estimate.add_own_pairs(PassRow::Text::all);
                estimate.add_words(estimate.text_tokens() * estimate.recipe().objectives.mlm_share);
              },
          .check = require_mask_token};
}

}  // namespace blip2
