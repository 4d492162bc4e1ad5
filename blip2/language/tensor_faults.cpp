#include "blip2/language/tensor_faults.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "blip2/base/error.h"

namespace blip2 {

void refuse_faults(const std::vector<std::string>& faults, const TensorFile& file) {
  if (faults.empty()) return;
  const std::size_t shown = std::min<std::size_t>(faults.size(), 8);
  throw Error(fmt::format("{} tensor(s) do not fit the language model: {}{}", faults.size(),
                          fmt::join(faults.begin(), faults.begin() + shown, "; "),
                          shown < faults.size() ? "; …" : ""),
              file.path().string(), "check that its config and its weights belong together");
}

}  // namespace blip2
