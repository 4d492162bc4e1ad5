#include "blip2/language/language_input.h"

#include <utility>

namespace blip2 {

using Ids = std::vector<std::int64_t>;

LanguageInput join_input(const std::function<at::Tensor(const at::Tensor&)>& embed,
                         const at::Tensor& soft, const std::vector<Ids>& text) {
  const std::int64_t rows = soft.size(0), queries = soft.size(1);
  Ids ids, order, offsets{0};
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t q = 0; q < queries; ++q) order.push_back(i * queries + q);
    for (const std::int64_t id : text[static_cast<std::size_t>(i)]) {
      order.push_back(rows * queries + std::ssize(ids));
      ids.push_back(id);
    }
    offsets.push_back(std::ssize(order));
  }
  const at::Tensor words = embed(at::tensor(ids, at::kLong));    // [M, width]
  const at::Tensor both = at::cat({soft.flatten(0, 1), words});  // [B*Q + M, width]
  return {both.index_select(0, at::tensor(order, at::kLong)), std::move(offsets)};
}

}  // namespace blip2
