#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/data/record_readers_internal.h"
#include "blip2/io/csv.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

// A row's cells under their columns' names; empty cells are not there.
nlohmann::json object_of(const std::vector<std::string>& columns,
                         const std::vector<std::string>& cells) {
  if (cells.size() != columns.size()) {
    refuse(
        fmt::format("expected {} cells, as the header has, got {}", columns.size(), cells.size()));
  }
  nlohmann::json object = nlohmann::json::object();
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (!is_utf8(cells[i])) refuse("the row is not UTF-8");
    if (!trim(cells[i]).empty()) object[columns[i]] = cells[i];
  }
  return object;
}

std::vector<std::string> header_of(CsvRows& rows, const std::filesystem::path& path) {
  std::vector<std::string> columns;
  try {
    columns = rows.next().value_or(std::vector<std::string>{});
  } catch (const Error& error) {
    throw error.within(path.string());
  }
  bool has_picture = false;
  for (std::string& column : columns) {
    column = trim(column);
    has_picture = has_picture || column == "file_name" || column == "image";
  }
  if (has_picture) return columns;
  throw Error("expected a header with a column \"file_name\"", path.string());
}

}  // namespace

std::size_t read_csv_rows(const RecordReading& reading, const std::filesystem::path& path,
                          PictureFinder& pictures, std::size_t before, const std::string& label) {
  RecordFile& file = reading.file;
  const auto mapped = MappedFile::open(path);
  CsvRows rows(without_byte_order_mark(text_in(*mapped), path.string()));
  const std::vector<std::string> columns = header_of(rows, path);
  while (true) {
    try {
      const auto cells = rows.next();
      if (!cells) return before + rows.line();
      file.records.push_back(read_object_record(object_of(columns, *cells), pictures, reading));
      file.records.back().line = before + rows.line();
    } catch (const Error& error) {
      file.bad.push_back(
          {before + rows.line(), error.what(), fmt::format("{}:{}", label, rows.line())});
    }
  }
}

}  // namespace blip2
