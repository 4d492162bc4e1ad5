#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// The rows of a table of comma-separated values (RFC 4180): cells may be quoted, a quote within is
// doubled, and quoted cells may hold commas and line breaks. Rows without any text are passed over.
class CsvRows {
 public:
  // `text`: the table without a byte order mark.
  explicit CsvRows(std::string_view text) : text_(text) {}

  // The cells of the next row; nullopt after the last row. Error (without a place) if a quoted cell
  // does not end, something else than a comma or line end follows it, or the row has more than 1
  // MiB. After an Error there is no next row.
  std::optional<std::vector<std::string>> next();
  // The number, from 1, of the line in which the last row (or the row that caused the Error)
  // begins.
  std::size_t line() const { return line_; }

 private:
  std::vector<std::string> read_row();
  std::string read_cell();
  [[noreturn]] void fail(const char* what);

  std::string_view text_;
  std::size_t at_ = 0, row_begin_ = 0, line_ = 0, next_line_ = 1;
};

}  // namespace blip2
