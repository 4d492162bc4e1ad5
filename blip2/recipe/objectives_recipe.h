#pragma once

#include <array>
#include <cstdint>

#include "blip2/io/fields.h"

namespace blip2 {

struct ObjectivesRecipe {
  double itc = 1, itm = 1, itg = 1, mlm = 0, mrm = 0;
  double mlm_share = 0.15, mrm_share = 0.15;
  double lm = 1, prefix_lm = 0, cmlm = 0, words = 0, contrast = 0, label_smoothing = 0.1;
  double words_sharpness = 16;
  std::int64_t itm_from = 0, itg_from = 0, lm_from = 0, words_lead = 0;
  std::int64_t itm_every = 1, itg_every = 1, mlm_ways = 4;
  bool clamp_temperature = true, alternate = false;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("itc", self.itc, "weight of image-text contrast (stage 1)");
    visit("itm", self.itm, "weight of image-text matching (stage 1)");
    visit("itg", self.itg, "weight of image-grounded text generation (stage 1)");
    visit("mlm", self.mlm, "weight of masked language modelling (stage 1)");
    visit("mrm", self.mrm, "weight of masked region modelling (stage 1)");
    visit("mlm_share", self.mlm_share, "share of a text's tokens that MLM masks");
    visit("mlm_ways", self.mlm_ways,
          "ways in which MLM masks each text, if cross-attention reads the language model");
    visit("mrm_share", self.mrm_share, "share of a picture's positions that MRM hides");
    visit("itm_from", self.itm_from, "steps without matching at the start (stage 1)");
    visit("itg_from", self.itg_from, "steps without image-grounded texts at the start (stage 1)");
    visit("itm_every", self.itm_every,
          "n: compute matching in every n-th step from itm_from on (stage 1)");
    visit("itg_every", self.itg_every,
          "n: generate image-grounded texts in every n-th step from itg_from on (stage 1)");
    visit("lm", self.lm, "weight of language modelling (stage 2)");
    visit("lm_from", self.lm_from,
          "steps without language modelling at the start, by the words objective (stage 2)");
    visit("prefix_lm", self.prefix_lm,
          "weight of prefix language modelling (stage 2 with an encoder-decoder)");
    visit("cmlm", self.cmlm,
          "weight of conditional masked language modelling (stage 2 with prompt.to_qformer)");
    visit("words", self.words, "weight of the words objective (stage 1 on captions, stage 2)");
    visit("contrast", self.contrast,
          "weight of image-text contrast on the captions of each batch (stage 2)");
    visit("words_sharpness", self.words_sharpness,
          "words: factor from cosines with the word embeddings to logits");
    visit("words_lead", self.words_lead,
          "words: number of last prompt tokens that are put before the target's");
    visit("alternate", self.alternate,
          "train one objective in each step; weights are the objectives' shares of the steps");
    visit("label_smoothing", self.label_smoothing, "smoothing of ITC, ITG and words");
    visit("clamp_temperature", self.clamp_temperature, "keep the temperature in [0.001, 0.5]");
  }
};

// The keys of the recipe that decide which steps have an objective.
struct ObjectiveSchedule {
  const char* name;                  // its name in the log, and the recipe's key for its weight
  double ObjectivesRecipe::*weight;  // 0: the objective is not computed and costs nothing
  // `from`: the first step that has the objective; `every`: n, if every n-th step from there on has
  // it. nullptr: step 0, and every step.
  std::int64_t ObjectivesRecipe::*from = nullptr;
  std::int64_t ObjectivesRecipe::*every = nullptr;

  // Whether a step has the objective, if its weight is above 0.
  bool takes(const ObjectivesRecipe& recipe, std::int64_t step) const {
    const std::int64_t first = from ? recipe.*from : 0;
    return step >= first && (every == nullptr || (step - first) % (recipe.*every) == 0);
  }
};

inline constexpr ObjectiveSchedule kItc{"itc", &ObjectivesRecipe::itc};
inline constexpr ObjectiveSchedule kItm{"itm", &ObjectivesRecipe::itm, &ObjectivesRecipe::itm_from,
                                        &ObjectivesRecipe::itm_every};
inline constexpr ObjectiveSchedule kItg{"itg", &ObjectivesRecipe::itg, &ObjectivesRecipe::itg_from,
                                        &ObjectivesRecipe::itg_every};
inline constexpr ObjectiveSchedule kMlm{"mlm", &ObjectivesRecipe::mlm};
inline constexpr ObjectiveSchedule kMrm{"mrm", &ObjectivesRecipe::mrm};
inline constexpr std::array kStage1Schedules{kItc, kItm, kItg, kMlm, kMrm};

}  // namespace blip2
