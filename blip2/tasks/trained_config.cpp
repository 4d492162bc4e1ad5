#include "blip2/tasks/trained_config.h"

#include "blip2/base/error.h"
#include "blip2/language/lora.h"
#include "blip2/tasks/stage1_objectives.h"
#include "blip2/tasks/trained_encoder.h"

namespace blip2 {
namespace {

// The objectives that only one kind of language model can be trained by.
void require_objectives(const std::optional<LanguageConfig>& language, const Recipe& recipe) {
  const ObjectivesRecipe& objectives = recipe.objectives;
  if (!language) {
    if (objectives.words <= 0) return;
    throw Error("the model has no language model", recipe.place("objectives.words"),
                "its words are what soft prompts shall point to; set it to 0");
  }
  const LanguageTraits& traits = traits_of(*language);
  if (!traits.predicts_words && objectives.words > 0) {
    throw Error("the words objective needs a decoder-only language model, got an encoder-decoder",
                recipe.place("objectives.words"), "set it to 0, and objectives.lm_from with it");
  }
  if (recipe.stage == 2 && !traits.reads_prefixes && objectives.prefix_lm > 0) {
    throw Error("prefix language modelling needs an encoder-decoder, got a decoder-only model",
                recipe.place("objectives.prefix_lm"),
                "set it to 0; objectives.lm reads and says captions");
  }
}

// What the recipe asks of cross-attention, and what that needs.
void require_reads(const Blip2Config& config, const Recipe& recipe) {
  const std::string where = recipe.place("encoder_reads");
  const bool asked = QFormerConfig::reads(recipe.encoder_reads, kReadsLanguage);
  if (config.qformer.reads_language() && !recipe.encoder_reads.empty() && !asked) {
    throw Error("the model's Q-Former reads a language model's states, which it cannot unlearn",
                where, "leave the key out, or start from another model");
  }
  if (!trains_reads(config, recipe)) {
    if (!asked) return;
    throw Error("no objective reads the language model's states: of stage 1 do MLM and MRM", where,
                "give objectives.mlm or objectives.mrm a weight, or leave the key out");
  }
  if (!config.language) {
    throw Error("the model has no language model, whose states cross-attention shall read",
                asked ? where : recipe.init + ": encoder_reads",
                "give one when assembling it with `blip2 convert`");
  }
  check_language_width(config, recipe.init);
}

}  // namespace

bool trains_reads(const Blip2Config& config, const Recipe& recipe) {
  const bool reads =
      config.qformer.reads_language() || QFormerConfig::reads(recipe.encoder_reads, kReadsLanguage);
  return reads && (recipe.stage == 2 || reads_language(stage1_weights(recipe.objectives)));
}

Blip2Config trained_config(Blip2Config config, const Recipe& recipe) {
  config.qformer.hidden_dropout_prob = recipe.dropout;
  config.qformer.attention_probs_dropout_prob = recipe.dropout;
  if (recipe.stage == 2) {
    config.stage1_heads = recipe.objectives.contrast > 0;
    config.reads_prompt = recipe.prompt.to_qformer;
  }
  if (!recipe.encoder_reads.empty()) {
    config.qformer.encoder_reads = recipe.encoder_reads;
    const bool reads = config.qformer.reads_language() && config.language;
    config.qformer.language_hidden_size = reads ? language_width(*config.language) : 0;
  }
  if (recipe.image_encoder.train) config.vision = trained_vision(config.vision, recipe);
  if (recipe.stage == 2 || recipe.objectives.words > 0) {
    config.caption_prompt = recipe.prompt.caption;
    config.question_prompt = recipe.prompt.question;
    config.chat_prompts = recipe.prompt.chat;
  }
  return config;
}

void require_trainable(const Blip2Config& config, const Recipe& recipe) {
  if (recipe.stage == 1 && !config.stage1_heads) {
    throw Error("the model has no stage-1 heads", recipe.init,
                "start stage 1 from a directory that `blip2 convert` or stage 1 wrote, or that has "
                "stage1/");
  }
  if (recipe.stage == 2 && recipe.objectives.contrast > 0 && !config.stage1_heads) {
    throw Error("contrast needs stage-1 heads, which the model does not have", recipe.init,
                "start from stage 1's directory, or set objectives.contrast to 0");
  }
  if (recipe.stage == 2 && !config.language) {
    throw Error("the model has no language model", recipe.init,
                "give one when assembling it with `blip2 convert`");
  }
  if (config.layout != ModelLayout::own) {
    throw Error("training starts from a directory in this program's own layout, got " +
                    architecture_of(config.layout),
                recipe.init, "`blip2 convert` assembles one of its parts");
  }
  require_objectives(config.language, recipe);
  const LanguageRecipe& language = recipe.language;
  if (language.lora_rank > 0) {
    lora_targets(*config.language, language.lora_targets, recipe.place("language.lora_targets"));
  }
  require_reads(config, recipe);
}

}  // namespace blip2
