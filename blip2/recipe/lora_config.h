#pragma once

#include "blip2/language/lora.h"
#include "blip2/recipe/recipe.h"

namespace blip2 {

// The adapters that the recipe trains beside the language model; rank 0: none.
LoraConfig lora_config(const Recipe& recipe);

}  // namespace blip2
