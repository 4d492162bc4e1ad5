#include "blip2/costs/step_cost.h"

#include <type_traits>

namespace blip2 {

StepTexts StepTexts::part(std::int64_t first, std::int64_t count) const {
  const auto slice = [&](const auto& all) {
    using List = std::decay_t<decltype(all)>;
    return all.empty() ? List{} : List(all.begin() + first, all.begin() + first + count);
  };
  return {count, slice(qformer), slice(prompts), slice(targets), slice(whole), slice(language)};
}

Flops StepCost::flops() const {
  Flops all;
  for (const Flops& part : {image_keys, qformer, heads, projection, language, words, encoder}) {
    all += part;
  }
  return all;
}

}  // namespace blip2
