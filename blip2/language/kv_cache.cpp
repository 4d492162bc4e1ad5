#include "blip2/language/kv_cache_internal.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace blip2 {
namespace {

// Tokens; fewer are copied when a row is repeated, as each list that attention reads costs time.
constexpr std::int64_t kWorthSharing = 8;

}  // namespace

KvCache::KvCache(const KvShape& shape, std::int64_t capacity, bool sharing)
    : matrices_(2 * shape.layers),
      heads_(shape.heads),
      first_capacity_(std::max<std::int64_t>(capacity, 1)),
      sharing_(sharing),
      token_bytes_(static_cast<std::size_t>(shape.head_dim) * shape.element_bytes) {}

std::byte* KvCache::block(const Tokens& tokens, std::int64_t matrix, std::int64_t head) const {
  const auto index = static_cast<std::size_t>((matrix * heads_ + head) * tokens.capacity);
  return tokens.data.get() + index * token_bytes_;
}

KvCache::Tokens KvCache::make_tokens(std::int64_t capacity) {
  for (std::size_t i = spare_.size(); i-- > 0;) {
    if (spare_[i].capacity != capacity) continue;
    Tokens tokens = std::move(spare_[i]);
    spare_.erase(spare_.begin() + static_cast<std::ptrdiff_t>(i));
    tokens.length = 0;
    return tokens;
  }
  if (!spare_.empty()) spare_.erase(spare_.begin());  // rows have become longer
  const auto bytes = static_cast<std::size_t>(matrices_ * heads_ * capacity) * token_bytes_;
  return {std::make_unique_for_overwrite<std::byte[]>(bytes), capacity, 0};
}

void KvCache::append(Tokens& to, const Tokens& from) const {
  const std::size_t used = static_cast<std::size_t>(from.length) * token_bytes_,
                    behind = static_cast<std::size_t>(to.length) * token_bytes_;
  for (std::int64_t matrix = 0; matrix < matrices_; ++matrix) {
    for (std::int64_t head = 0; head < heads_; ++head) {
      std::memcpy(block(to, matrix, head) + behind, block(from, matrix, head), used);
    }
  }
  to.length += from.length;
}

KvCache::Tokens KvCache::copy_of(const Tokens& tokens, std::int64_t capacity) {
  Tokens copy = make_tokens(capacity);
  append(copy, tokens);
  return copy;
}

void KvCache::add_rows(std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) rows_.push_back({{}, 0, make_tokens(first_capacity_)});
}

void KvCache::reserve(std::int64_t row, std::int64_t count) {
  Tokens& own = at(row).own;
  if (own.length + count <= own.capacity) return;
  own = copy_of(own, std::max(own.length + count, 2 * own.capacity));
}

void KvCache::restart(std::int64_t row) {
  Row& r = at(row);
  r.shared.clear();
  r.shared_length = r.own.length = 0;
}

void KvCache::own_all(std::int64_t row) {
  Row& r = at(row);
  if (r.shared.empty()) return;
  Tokens all = make_tokens(std::max(first_capacity_, length(row)));
  for (const auto& tokens : r.shared) append(all, *tokens);
  append(all, r.own);
  r = {{}, 0, std::move(all)};
}

// The row's own tokens become some that it shares with the rows that continue it.
void KvCache::share(Row& row) {
  if (!sharing_ || row.own.length < kWorthSharing) return;
  row.shared_length += row.own.length;
  row.shared.push_back(std::make_shared<const Tokens>(std::move(row.own)));
  row.own = make_tokens(kWorthSharing);
}

void KvCache::select(std::span<const std::int32_t> sources) {
  std::vector<int> uses(rows_.size());
  for (const std::int32_t source : sources) ++uses.at(static_cast<std::size_t>(source));
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (uses[i] == 0) spare_.push_back(std::move(rows_[i].own));
    if (uses[i] > 1) share(rows_[i]);
  }
  std::vector<Row> next;
  for (const std::int32_t source : sources) {
    const auto i = static_cast<std::size_t>(source);
    Row& row = rows_[i];
    const bool last_use = --uses[i] == 0;
    next.push_back(last_use
                       ? std::move(row)
                       : Row{row.shared, row.shared_length, copy_of(row.own, row.own.capacity)});
  }
  rows_ = std::move(next);
  // Rows that come and go leave memory of many sizes, of which no more is kept than may be needed.
  if (spare_.size() > rows_.size()) {
    spare_.erase(spare_.begin(), spare_.end() - static_cast<std::ptrdiff_t>(rows_.size()));
  }
}

void KvCache::join(KvCache& other) {
  for (Row& row : other.rows_) rows_.push_back(std::move(row));
  other.rows_.clear();
}

}  // namespace blip2
