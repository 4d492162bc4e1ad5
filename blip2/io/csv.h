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
  // Text after its byte order mark.
  explicit CsvRows(std::string_view text) : text_(text) {}

  // The cells of the next row; nothing after the last. Error (without a place) if a quoted cell
  // does not end, is followed by something else than a comma or line end, or the row passes 1 MiB;
  // after it there is no next row.
  std::optional<std::vector<std::string>> next();
  // The line in which the row given last, or the one at fault, begins; from 1.
  std::size_t line() const { return line_; }

 private:
  std::vector<std::string> read_row();
  std::string read_cell();
  [[noreturn]] void fail(const char* what);

  std::string_view text_;
  std::size_t at_ = 0, row_begin_ = 0, line_ = 0, next_line_ = 1;
};

}  // namespace blip2
