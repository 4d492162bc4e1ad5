#include "blip2/language/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace blip2 {

KvCache::KvCache(const KvShape& shape, std::int64_t capacity)
    : matrices_(2 * shape.layers),
      heads_(shape.heads),
      first_capacity_(std::max<std::int64_t>(capacity, 1)),
      token_bytes_(static_cast<std::size_t>(shape.head_dim) * shape.element_bytes) {}

std::byte* KvCache::block(std::int64_t row, std::int64_t matrix, std::int64_t head) {
  Row& r = at(row);
  const auto index = static_cast<std::size_t>((matrix * heads_ + head) * r.capacity);
  return r.data.get() + index * token_bytes_;
}

KvCache::Row KvCache::make_row(std::int64_t capacity) {
  for (std::size_t i = spare_.size(); i-- > 0;) {
    if (spare_[i].capacity != capacity) continue;
    Row row = std::move(spare_[i]);
    spare_.erase(spare_.begin() + static_cast<std::ptrdiff_t>(i));
    row.length = 0;
    return row;
  }
  const auto bytes = static_cast<std::size_t>(matrices_ * heads_ * capacity) * token_bytes_;
  return {std::make_unique_for_overwrite<std::byte[]>(bytes), capacity, 0};
}

KvCache::Row KvCache::copy_of(const Row& row, std::int64_t capacity) {
  Row copy = make_row(capacity);
  copy.length = row.length;
  const auto used = static_cast<std::size_t>(row.length) * token_bytes_;
  const auto from_step = static_cast<std::size_t>(row.capacity) * token_bytes_;
  const auto to_step = static_cast<std::size_t>(capacity) * token_bytes_;
  for (std::int64_t i = 0; i < matrices_ * heads_; ++i) {
    const auto at = static_cast<std::size_t>(i);
    std::memcpy(copy.data.get() + at * to_step, row.data.get() + at * from_step, used);
  }
  return copy;
}

void KvCache::add_rows(std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) rows_.push_back(make_row(first_capacity_));
}

void KvCache::reserve(std::int64_t row, std::int64_t count) {
  Row& r = at(row);
  if (r.length + count <= r.capacity) return;
  r = copy_of(r, std::max(r.length + count, 2 * r.capacity));
}

void KvCache::select(std::span<const std::int32_t> sources) {
  std::vector<int> uses(rows_.size());
  for (const std::int32_t source : sources) ++uses.at(static_cast<std::size_t>(source));
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (uses[i] == 0) spare_.push_back(std::move(rows_[i]));
  }
  std::vector<Row> next;
  for (const std::int32_t source : sources) {
    const auto i = static_cast<std::size_t>(source);
    const bool last_use = --uses[i] == 0;
    next.push_back(last_use ? std::move(rows_[i]) : copy_of(rows_[i], rows_[i].capacity));
  }
  rows_ = std::move(next);
}

}  // namespace blip2
