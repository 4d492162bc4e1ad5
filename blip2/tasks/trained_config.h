#pragma once

#include "blip2/model/config.h"
#include "blip2/recipe/recipe.h"

namespace blip2 {

// The configuration of the model that the recipe trains, made from the configuration of `init`.
Blip2Config trained_config(Blip2Config config, const Recipe& recipe);
// Whether training reads a language model's states for the Q-Former: that of `config`, of `init` or
// trained_config's, or the recipe asks for it, and an objective reads them.
bool trains_reads(const Blip2Config& config, const Recipe& recipe);
// Error if the recipe cannot train a model of `init`'s configuration: it lacks a part, or an
// objective does not fit its language model.
void require_trainable(const Blip2Config& config, const Recipe& recipe);

}  // namespace blip2
