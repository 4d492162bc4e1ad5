#include "blip2/io/csv.h"

#include <algorithm>

#include "blip2/base/error.h"

namespace blip2 {

namespace {

constexpr std::size_t kMaxRow = 1u << 20;

}  // namespace

void CsvRows::fail(const char* what) {
  at_ = text_.size();
  throw Error(what);
}

std::optional<std::vector<std::string>> CsvRows::next() {
  while (at_ < text_.size()) {
    line_ = next_line_;
    row_begin_ = at_;
    auto cells = read_row();
    if (std::any_of(cells.begin(), cells.end(), [](const auto& cell) { return !cell.empty(); })) {
      return cells;
    }
  }
  return {};
}

std::vector<std::string> CsvRows::read_row() {
  std::vector<std::string> cells{read_cell()};
  while (at_ < text_.size() && text_[at_] == ',') {
    ++at_;
    cells.push_back(read_cell());
  }
  if (text_.substr(at_).starts_with("\r\n")) ++at_;
  if (at_ < text_.size()) ++at_;  // the line's end
  ++next_line_;
  return cells;
}

std::string CsvRows::read_cell() {
  std::string cell;
  if (at_ >= text_.size() || text_[at_] != '"') {
    const std::size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
    if (end - row_begin_ > kMaxRow) fail("expected a row of at most 1 MiB");
    cell = text_.substr(at_, end - at_);
    at_ = end;
    return cell;
  }
  while (true) {
    const std::size_t end = text_.find('"', at_ + 1);
    if (end == text_.npos) fail("expected the quote that ends a cell, got the end of the file");
    if (end - row_begin_ > kMaxRow) fail("expected a row of at most 1 MiB");
    const std::string_view part = text_.substr(at_ + 1, end - at_ - 1);
    next_line_ += static_cast<std::size_t>(std::count(part.begin(), part.end(), '\n'));
    cell += part;
    at_ = end + 1;
    if (at_ >= text_.size() || text_[at_] != '"') break;
    cell += '"';
  }
  const bool ends = at_ >= text_.size() || std::string_view(",\r\n").find(text_[at_]) != text_.npos;
  if (!ends) fail("expected a comma or the line's end after a quoted cell");
  return cell;
}

}  // namespace blip2
