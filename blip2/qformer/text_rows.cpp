#include "blip2/qformer/text_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

// For each token of the packed rows, its place in a padded [B,T] flattened.
at::Tensor padded_places(at::IntArrayRef lengths, std::int64_t longest, std::int64_t total) {
  at::Tensor places = at::empty({total}, at::kLong);
  auto* out = places.mutable_data_ptr<std::int64_t>();
  for (std::size_t row = 0; row < lengths.size(); ++row) {
    for (std::int64_t t = 0; t < lengths[row]; ++t) {
      *out++ = static_cast<std::int64_t>(row) * longest + t;
    }
  }
  return places;
}

}  // namespace

std::vector<std::int64_t> TextRows::offsets() const {
  std::vector<std::int64_t> offsets{0};
  for (std::int64_t length : lengths) offsets.push_back(offsets.back() + length);
  return offsets;
}

TextRows ragged_text(std::span<const std::vector<std::int32_t>> texts) {
  std::vector<std::int64_t> ids;
  TextRows rows;
  for (const auto& text : texts) {
    ids.insert(ids.end(), text.begin(), text.end());
    rows.lengths.push_back(std::ssize(text));
  }
  rows.ids = torch::tensor(ids, at::kLong);
  return rows;
}

TextRows pack_text(const at::Tensor& ids, at::IntArrayRef lengths) {
  if (ids.dim() != 2 || ids.scalar_type() != at::kLong ||
      ids.size(0) != static_cast<std::int64_t>(lengths.size())) {
    throw Error(
        fmt::format("expected int64 ids [{}, T], got {} dimensions, {} rows, {}", lengths.size(),
                    ids.dim(), ids.dim() > 0 ? ids.size(0) : 0, c10::toString(ids.scalar_type())),
        "text of the Q-Former");
  }
  std::int64_t total = 0;
  for (std::int64_t length : lengths) {
    if (length < 1 || length > ids.size(1)) {
      throw Error(fmt::format("expected lengths of 1 to {} tokens, got {}", ids.size(1), length),
                  "text of the Q-Former", "a text has at least its [CLS] token");
    }
    total += length;
  }
  const at::Tensor places = padded_places(lengths, ids.size(1), total);
  return {ids.reshape({-1}).index_select(0, places), lengths.vec()};
}

TextRows join_text(const TextRows& a, const TextRows& b) {
  TextRows joined{at::cat({a.ids, b.ids}), a.lengths};
  joined.lengths.insert(joined.lengths.end(), b.lengths.begin(), b.lengths.end());
  return joined;
}

at::Tensor pad_rows(const at::Tensor& packed, const std::vector<std::int64_t>& lengths) {
  const std::int64_t rows = static_cast<std::int64_t>(lengths.size());
  const std::int64_t longest = rows ? *std::max_element(lengths.begin(), lengths.end()) : 0;
  std::vector<std::int64_t> shape = packed.sizes().vec();
  shape[0] = rows * longest;
  const at::Tensor places = padded_places(lengths, longest, packed.size(0));
  const at::Tensor padded = at::zeros(shape, packed.options()).index_copy(0, places, packed);
  shape.erase(shape.begin());
  shape.insert(shape.begin(), {rows, longest});
  return padded.view(shape);
}

}  // namespace blip2
