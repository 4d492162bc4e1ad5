#include "blip2/recipe/lora_config.h"

namespace blip2 {

LoraConfig lora_config(const Recipe& recipe) {
  const LanguageRecipe& language = recipe.language;
  return {.rank = language.lora_rank,
          .alpha = language.lora_alpha,
          .dropout = language.lora_dropout,
          .rslora = false,
          .targets = language.lora_targets};
}

}  // namespace blip2
