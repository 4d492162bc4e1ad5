#include <bit>

#include "blip2/base/error.h"
#include "blip2/io/half.h"
#include "blip2/io/utf8.h"
#include "blip2/postgres/values_internal.h"

namespace blip2 {
namespace {

constexpr std::uint32_t kBigint = 20;  // its number in Postgres' catalogue of types

// Numbers are written with their highest byte first.
template <typename Number>
void put(std::string& out, Number value) {
  for (int shift = 8 * (sizeof(Number) - 1); shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift & 0xff));
}

std::uint64_t take(std::string_view value) {
  std::uint64_t result = 0;
  for (const char c : value) result = result << 8 | static_cast<unsigned char>(c);
  return result;
}

std::string storable(std::string_view text) {
  const bool good = is_utf8(text);
  std::string result(text);
  for (char& c : result)
    if (c == 0 || (!good && static_cast<unsigned char>(c) >= 0x80)) c = '?';
  return result;
}

}  // namespace

PostgresValues& PostgresValues::end(bool null) {
  ends_.push_back(data_.size());
  null_.push_back(null);
  return *this;
}

PostgresValues& PostgresValues::integer(std::int64_t value) {
  put(data_, static_cast<std::uint64_t>(value));
  return end();
}

PostgresValues& PostgresValues::integer(std::optional<std::int64_t> value) {
  return value ? integer(*value) : nothing();
}

// Dimensions, whether a member is NULL, type of the members; length and first index of the only
// dimension; then each member with its length.
PostgresValues& PostgresValues::integers(std::span<const std::int64_t> values) {
  put<std::uint32_t>(data_, 1);
  put<std::uint32_t>(data_, 0);
  put(data_, kBigint);
  put(data_, static_cast<std::uint32_t>(values.size()));
  put<std::uint32_t>(data_, 1);
  for (const std::int64_t value : values) {
    put<std::uint32_t>(data_, 8);
    put(data_, static_cast<std::uint64_t>(value));
  }
  return end();
}

PostgresValues& PostgresValues::number(double value) {
  put(data_, std::bit_cast<std::uint64_t>(value));
  return end();
}

PostgresValues& PostgresValues::bytes(std::string_view value) {
  data_ += value;
  return end();
}

PostgresValues& PostgresValues::bytes(std::span<const std::byte> value) {
  return bytes({reinterpret_cast<const char*>(value.data()), value.size()});
}

PostgresValues& PostgresValues::text(std::string_view value) {
  return bytes(storable(value));
}

PostgresValues& PostgresValues::halves(std::span<const float> vector) {
  put(data_, static_cast<std::uint16_t>(vector.size()));
  put<std::uint16_t>(data_, 0);  // not used by pgvector
  for (const float x : vector) put(data_, to_half(x));
  return end();
}

PostgresValues& PostgresValues::nothing() {
  return end(true);
}

std::optional<std::string_view> PostgresValues::operator[](std::size_t i) const {
  if (null_[i]) return std::nullopt;
  const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
  return std::string_view(data_).substr(begin, ends_[i] - begin);
}

void PostgresValues::clear() {
  data_.clear();
  ends_.clear();
  null_.clear();
}

std::string PostgresValues::copy_row() const {
  std::string row;
  row.reserve(data_.size() + 4 * size() + 2);
  put(row, static_cast<std::uint16_t>(size()));
  for (std::size_t i = 0; i < size(); ++i) {
    const auto value = (*this)[i];
    put(row, value ? static_cast<std::uint32_t>(value->size()) : 0xffffffffu);
    if (value) row += *value;
  }
  return row;
}

std::string_view copy_head() {
  using namespace std::string_view_literals;
  return "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"sv;  // signature, no flags, no more of a header
}

std::string_view copy_end() {
  return "\377\377";
}

std::int64_t integer_of(std::string_view value) {
  need(value.size() == 8 || value.size() == 4,
       "a number of " + std::to_string(value.size()) + " bytes, expected 4 or 8", "Postgres");
  const std::uint64_t bits = take(value);
  return value.size() == 8 ? static_cast<std::int64_t>(bits)
                           : static_cast<std::int32_t>(static_cast<std::uint32_t>(bits));
}

double number_of(std::string_view value) {
  need(value.size() == 8, "a number of " + std::to_string(value.size()) + " bytes, expected 8",
       "Postgres");
  return std::bit_cast<double>(take(value));
}

}  // namespace blip2
