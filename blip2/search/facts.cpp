#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>

#include "blip2/base/error.h"
#include "blip2/search/facts_internal.h"

namespace blip2 {
namespace {

// The statement for files with these conditions; what stands behind the columns.
std::string files_where(const char* rest) {
  return std::string("SELECT path, bytes, modified, picture, problem FROM files ") + rest;
}

std::vector<FileFacts> list_of_files(SqlStatement row) {
  std::vector<FileFacts> files;
  visit_files(row, [&](FileFacts file) { files.push_back(std::move(file)); });
  return files;
}

std::string below(std::string folder) {
  while (!folder.empty() && folder.back() == '/') folder.pop_back();
  return folder + "/";
}

// The first path behind all that begin with `prefix`, which ends with a slash.
std::string behind(std::string prefix) {
  prefix.back() = '0';  // the byte after '/'
  return prefix;
}

// A condition and what its question marks stand for, kept in one list.
struct Conditions {
  using Value = std::variant<std::int64_t, std::string, std::vector<std::byte>>;
  std::string sql = "1";
  std::vector<Value> values;

  void add(const char* condition, Value value) {
    sql += std::string(" AND ") + condition;
    values.push_back(std::move(value));
  }
  void bind_to(SqlStatement& statement) const {
    int place = 0;
    for (const Value& value : values) {
      ++place;
      if (const auto* number = std::get_if<std::int64_t>(&value)) statement.bind(place, *number);
      if (const auto* text = std::get_if<std::string>(&value)) statement.bind(place, *text);
      if (const auto* bytes = std::get_if<std::vector<std::byte>>(&value)) {
        statement.bind(place, SqlBlob(*bytes));
      }
    }
  }
};

std::vector<std::byte> path_bytes(const std::string& path) {
  const auto bytes = std::as_bytes(std::span(path));
  return {bytes.begin(), bytes.end()};
}

Conditions conditions_of(const PictureFilter& filter) {
  Conditions conditions;
  if (!filter.folder.empty()) {
    const std::string prefix = below(filter.folder);
    conditions.add("f.path >= ?", path_bytes(prefix));
    conditions.add("f.path < ?", path_bytes(behind(prefix)));
  }
  constexpr const char* kAfter = "coalesce(p.taken, f.modified / 1000000000) >= ?";
  constexpr const char* kBefore = "coalesce(p.taken, f.modified / 1000000000) < ?";
  if (filter.after) conditions.add(kAfter, *filter.after);
  if (filter.before) conditions.add(kBefore, *filter.before);
  if (filter.min_side) conditions.add("min(p.width, p.height) >= ?", *filter.min_side);
  if (!filter.camera.empty()) conditions.add("instr(lower(p.camera), lower(?)) > 0", filter.camera);
  return conditions;
}

}  // namespace

std::vector<std::byte> column_of(const ContentHash& hash) {
  std::vector<std::byte> bytes(16);
  std::memcpy(bytes.data(), &hash.low, 8);
  std::memcpy(bytes.data() + 8, &hash.high, 8);
  return bytes;
}

ContentHash hash_in(const SqlStatement& row, int column, const SqliteDatabase& database) {
  const auto bytes = row.bytes(column);
  need(bytes.size() == 16, "the index is damaged: a hash has not 16 bytes",
       database.file().string());
  ContentHash hash;
  std::memcpy(&hash.low, bytes.data(), 8);
  std::memcpy(&hash.high, bytes.data() + 8, 8);
  return hash;
}

std::optional<std::int64_t> find_picture(SqliteDatabase& database, const ContentHash& content) {
  return database.number("SELECT number FROM pictures WHERE hash = ?", SqlBlob(column_of(content)));
}

std::optional<PictureFacts> find_facts(SqliteDatabase& database, std::int64_t picture) {
  SqlStatement row = database.query(
      "SELECT hash, width, height, taken, camera, caption, look FROM pictures WHERE number = ?",
      picture);
  if (!row.next()) return std::nullopt;
  PictureFacts facts;
  facts.content = hash_in(row, 0, database);
  facts.width = row.number(1);
  facts.height = row.number(2);
  facts.taken = row.maybe_number(3);
  facts.camera = row.text(4);
  facts.caption = row.text(5);
  facts.look = row.text(6);
  return facts;
}

std::optional<FileFacts> find_file(SqliteDatabase& database, const std::string& path) {
  auto files = list_of_files(database.query(files_where("WHERE path = ?"), SqlBlob(path)));
  return files.empty() ? std::nullopt : std::optional(std::move(files.front()));
}

SqlStatement all_files(SqliteDatabase& database) {
  return database.query(files_where("ORDER BY path"));
}

std::vector<FileFacts> files_of_picture(SqliteDatabase& database, std::int64_t picture) {
  return list_of_files(database.query(files_where("WHERE picture = ? ORDER BY path"), picture));
}

std::vector<FileFacts> page_of_files(SqliteDatabase& database, bool bad, std::int64_t first,
                                     std::int64_t most) {
  const char* rest = bad ? "WHERE picture IS NULL ORDER BY path LIMIT ? OFFSET ?"
                         : "WHERE picture IS NOT NULL ORDER BY path LIMIT ? OFFSET ?";
  return list_of_files(database.query(files_where(rest), std::max<std::int64_t>(most, 0),
                                      std::max<std::int64_t>(first, 0)));
}

SqlStatement matching_pictures(SqliteDatabase& database, const PictureFilter& filter) {
  const Conditions conditions = conditions_of(filter);
  const bool needs_files = !filter.folder.empty() || filter.after || filter.before;
  const std::string from = needs_files ? "SELECT f.picture FROM files f JOIN pictures p ON "
                                         "p.number = f.picture WHERE "
                                       : "SELECT p.number FROM pictures p WHERE ";
  SqlStatement statement = database.query(from + conditions.sql);
  conditions.bind_to(statement);
  return statement;
}

}  // namespace blip2
