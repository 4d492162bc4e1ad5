#include "blip2/base/error.h"
#include "blip2/costs/step_estimate.h"
#include "blip2/tasks/stage1_objectives.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kWordsPurpose = 8;

// With a language model the words were chosen when it read the rest.
MaskedText masked_words(const Stage1Step& step, const WordMasking& masking) {
  if (step.language()) return mask_text(step.text(), masking, step.language()->seeds);
  return mask_text(step.text(), masking, step.seed(kWordsPurpose), step.first_row());
}

ObjectiveLoss masked_words_loss(const Stage1Step& step, const Stage1Setting& setting) {
  const MaskedText masked = masked_words(step, setting.masking());
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
  std::optional<LanguageKeysValues> language;
  if (step.language()) language = step.language_keys(step.language()->masked);
  const JointStates joint =
      pass.encode_multimodal(step.parts().query_tokens, step.images(), masked.inputs,
                             step.own_pairs(), /*with_text=*/true, language ? &*language : nullptr);
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
          .check = require_mask_token,
          .language = &Stage1Language::masked};
}

}  // namespace blip2
