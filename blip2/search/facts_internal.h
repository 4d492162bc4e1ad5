#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/search/picture_facts.h"
#include "blip2/search/sqlite_internal.h"

namespace blip2 {

// A hash as the column has it, and back; Error if the column has something else.
std::vector<std::byte> column_of(const ContentHash& hash);
ContentHash hash_in(const SqlStatement& row, int column, const SqliteDatabase& database);

std::optional<std::int64_t> find_picture(SqliteDatabase& database, const ContentHash& content);
std::optional<PictureFacts> find_facts(SqliteDatabase& database, std::int64_t picture);
std::optional<FileFacts> find_file(SqliteDatabase& database, const std::string& path);

// Files sorted by path; `visit` is called with each.
template <typename Visit>
void visit_files(SqlStatement& row, const Visit& visit) {
  while (row.next()) {
    FileFacts file;
    file.path = row.text(0);
    file.bytes = static_cast<std::uint64_t>(row.number(1));
    file.modified = row.number(2);
    file.picture = row.maybe_number(3);
    file.problem = row.text(4);
    visit(std::move(file));
  }
}
SqlStatement all_files(SqliteDatabase& database);
std::vector<FileFacts> files_of_picture(SqliteDatabase& database, std::int64_t picture);
std::vector<FileFacts> page_of_files(SqliteDatabase& database, bool bad, std::int64_t first,
                                     std::int64_t most);

// A row for each picture that passes, or for each of its files that does: the picture's number.
// `filter` must not pass all.
SqlStatement matching_pictures(SqliteDatabase& database, const PictureFilter& filter);

}  // namespace blip2
