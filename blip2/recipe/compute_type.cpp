#include "blip2/recipe/compute_type.h"

#include "blip2/base/processor.h"

namespace blip2 {

c10::ScalarType compute_type(const Recipe& recipe) {
  const bool narrow =
      recipe.precision == "auto" ? processor().avx512_bf16 : recipe.precision == "bf16";
  return narrow ? c10::ScalarType::BFloat16 : c10::ScalarType::Float;
}

}  // namespace blip2
