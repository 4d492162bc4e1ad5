#include "blip2/objectives/cmlm.h"

#include <numeric>

#include "blip2/base/random.h"

namespace blip2 {

ForcedRow mask_answer(ForcedRow row, std::int64_t mask_token, std::uint64_t seed) {
  Random random(seed);
  const std::size_t tokens = row.read.size(), hidden = 1 + random.below(tokens);
  std::vector<std::size_t> places(tokens);
  std::iota(places.begin(), places.end(), std::size_t{0});
  random.shuffle(places);
  for (std::size_t i = 0; i < tokens; ++i) {
    if (i < hidden) {
      row.read[places[i]] = mask_token;
    } else {
      row.targets[places[i]] = kIgnoredLabel;
    }
  }
  return row;
}

}  // namespace blip2
