#pragma once

#include <c10/core/ScalarType.h>

#include "blip2/recipe/recipe.h"

namespace blip2 {

// The number type in which the recipe computes on this machine: bf16 or f32.
c10::ScalarType compute_type(const Recipe& recipe);

}  // namespace blip2
