#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// Values in the binary form in which Postgres takes parameters and the rows of a COPY, one after
// another. For one thread at a time.
class PostgresValues {
 public:
  PostgresValues& integer(std::int64_t value);  // bigint
  PostgresValues& integer(std::optional<std::int64_t> value);
  PostgresValues& integers(std::span<const std::int64_t> values);  // bigint[]
  PostgresValues& number(double value);                            // double precision
  PostgresValues& bytes(std::string_view value);                   // bytea
  PostgresValues& bytes(std::span<const std::byte> value);
  // text: bytes that are no UTF-8, and zero bytes, which Postgres cannot store, become '?'.
  PostgresValues& text(std::string_view value);
  PostgresValues& halves(std::span<const float> vector);  // halfvec
  PostgresValues& nothing();                              // NULL

  std::size_t size() const { return ends_.size(); }
  std::optional<std::string_view> operator[](std::size_t i) const;
  void clear();
  // The values as one row of COPY's binary form.
  std::string copy_row() const;

 private:
  PostgresValues& end(bool null = false);

  std::string data_;
  std::vector<std::size_t> ends_;
  std::vector<bool> null_;
};

// What stands before the rows of COPY's binary form, and behind them.
std::string_view copy_head();
std::string_view copy_end();

// A bigint, an int or a double precision from its binary form. Error if it has another size.
std::int64_t integer_of(std::string_view value);
double number_of(std::string_view value);

}  // namespace blip2
