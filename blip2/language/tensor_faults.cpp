#include "blip2/language/tensor_faults.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {

std::string tensor_fault(const TensorView* tensor, const std::string& name,
                         const std::vector<std::int64_t>& shape) {
  if (!tensor || tensor->shape != shape) {
    return fmt::format("{}: expected shape {}, got {}", name, shape_text(shape),
                       tensor ? shape_text(tensor->shape) : "none (missing)");
  }
  const auto type = scalar_type_of(tensor->dtype);
  if (is_quantised(tensor->dtype) && is_listed_only(tensor->dtype)) {
    return fmt::format("{}: {} cannot be computed with", name, dtype_name(tensor->dtype));
  }
  if (type ? c10::isFloatingType(*type) : !is_listed_only(tensor->dtype)) return {};
  return fmt::format("{}: expected a floating-point type, got {}", name, dtype_name(tensor->dtype));
}

void refuse_faults(const std::vector<std::string>& faults, const TensorFile& file) {
  if (faults.empty()) return;
  const std::size_t shown = std::min<std::size_t>(faults.size(), 8);
  throw Error(fmt::format("{} tensor(s) do not fit the language model: {}{}", faults.size(),
                          fmt::join(faults.begin(), faults.begin() + shown, "; "),
                          shown < faults.size() ? "; …" : ""),
              file.path().string(), "check that its config and its weights belong together");
}

}  // namespace blip2
