#include "blip2/objectives/prefix_lm.h"

#include "blip2/base/random.h"

namespace blip2 {

ForcedRow split_answer(ForcedRow row, std::uint64_t seed) {
  if (row.read.size() < 2) return row;
  const auto prefix = static_cast<std::ptrdiff_t>(Random(seed).below(row.read.size() - 1));
  row.prompt.insert(row.prompt.end(), row.read.begin(), row.read.begin() + prefix);
  row.read.erase(row.read.begin(), row.read.begin() + prefix);
  row.targets.erase(row.targets.begin(), row.targets.begin() + prefix);
  return row;
}

}  // namespace blip2
