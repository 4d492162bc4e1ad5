#include "blip2/search/generation_internal.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <numeric>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

constexpr std::int64_t kApplication = 0x62326978;  // "b2ix", in the database's header
constexpr std::int64_t kIndexVersion = 1;          // PRAGMA user_version

constexpr const char* kTables = R"(
CREATE TABLE pictures(
  number INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE, width INTEGER NOT NULL,
  height INTEGER NOT NULL, taken INTEGER, camera TEXT NOT NULL, caption TEXT NOT NULL,
  look BLOB NOT NULL);
CREATE TABLE files(
  path BLOB NOT NULL PRIMARY KEY, bytes INTEGER NOT NULL, modified INTEGER NOT NULL,
  picture INTEGER, problem TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX files_of_pictures ON files(picture) WHERE picture IS NOT NULL;
CREATE INDEX bad_files ON files(path) WHERE picture IS NULL;
CREATE TABLE texts(key TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE parts(
  number INTEGER PRIMARY KEY, place INTEGER NOT NULL, rows INTEGER NOT NULL,
  numbers_sum INTEGER NOT NULL, bodies_sum INTEGER NOT NULL, heads_sum INTEGER NOT NULL,
  largest_error REAL NOT NULL, alive BLOB NOT NULL);
CREATE TABLE generation(
  only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL, model_hash TEXT NOT NULL,
  model_folder BLOB NOT NULL, queries INTEGER NOT NULL, width INTEGER NOT NULL,
  pictures INTEGER NOT NULL, files INTEGER NOT NULL, bad_files INTEGER NOT NULL,
  next_part INTEGER NOT NULL, fitted_on INTEGER NOT NULL, basis BLOB);
)";

[[noreturn]] void fail_as_damaged(const SqliteDatabase& database, const std::string& what) {
  throw Error("the index is damaged: " + what, database.file().string(),
              "--rebuild makes it again");
}

std::size_t words_for(std::size_t rows) {
  return (rows + 63) / 64;
}

IndexPart read_part(const SqliteDatabase& database, const SqlStatement& row) {
  IndexPart part;
  part.number = row.number(0);
  part.rows = static_cast<std::size_t>(row.number(1));
  part.sums = {std::bit_cast<std::uint64_t>(row.number(2)),
               std::bit_cast<std::uint64_t>(row.number(3)),
               std::bit_cast<std::uint64_t>(row.number(4))};
  part.largest_error = static_cast<float>(row.real(5));
  const auto alive = row.bytes(6);
  if (part.number < 1 || row.number(1) < 1 || row.number(1) > std::int64_t{1} << 40 ||
      alive.size() != words_for(part.rows) * sizeof(std::uint64_t)) {
    fail_as_damaged(database, fmt::format("the file of vectors {} has {} rows and {} bytes of bits",
                                          part.number, part.rows, alive.size()));
  }
  part.alive.resize(words_for(part.rows));
  std::memcpy(part.alive.data(), alive.data(), alive.size());
  if ((part.alive.back() & ~all_alive(part.rows).back()) != 0) {
    fail_as_damaged(database, fmt::format("bits of {} reach beyond its rows", part.number));
  }
  return part;
}

void read_basis(SqliteDatabase& database, const SqlStatement& row, Generation& generation) {
  generation.fitted_on = row.number(9);
  if (row.is_null(10)) return;
  try {
    generation.basis =
        std::make_shared<const Basis>(Basis::from_bytes(generation.identity.shape, row.bytes(10)));
  } catch (const Error& error) {
    throw error.within(database.file().string());
  }
}

void read_parts(SqliteDatabase& database, Generation& generation) {
  SqlStatement row = database.query(
      "SELECT number, rows, numbers_sum, bodies_sum, heads_sum, largest_error, alive FROM parts "
      "ORDER BY place");
  while (row.next()) generation.parts.push_back(read_part(database, row));
  if (!generation.parts.empty() && !generation.basis) {
    fail_as_damaged(database, "there are vectors, but no basis");
  }
}

// The largest number that a picture has ever had, if the old tables say so.
std::int64_t last_picture(SqliteDatabase& database) {
  const bool counted =
      database.number("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").has_value();
  if (!counted) return 0;
  return database.number("SELECT seq FROM sqlite_sequence WHERE name = 'pictures'").value_or(0);
}

// The index's id if the old tables are of this version and say it.
std::optional<std::string> old_id(SqliteDatabase& database) {
  if (!database.number("SELECT 1 FROM sqlite_master WHERE name = 'texts'") ||
      database.number("PRAGMA user_version") != kIndexVersion) {
    return std::nullopt;
  }
  SqlStatement row = database.query("SELECT text FROM texts WHERE key = ?", kIdKey);
  if (!row.next()) return std::nullopt;
  return row.text(0);
}

std::vector<std::string> table_names(SqliteDatabase& database) {
  std::vector<std::string> names;
  SqlStatement row = database.query(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
      "ESCAPE '\\'");
  while (row.next()) names.push_back(row.text(0));
  return names;
}

std::string quoted(const std::string& name) {
  std::string result = "\"";
  for (const char letter : name)
    result += letter == '"' ? std::string("\"\"") : std::string(1, letter);
  return result + "\"";
}

}  // namespace

std::size_t IndexPart::alive_rows() const {
  return std::accumulate(alive.begin(), alive.end(), std::size_t{0}, [](auto sum, auto word) {
    return sum + static_cast<std::size_t>(std::popcount(word));
  });
}

std::vector<std::uint64_t> all_alive(std::size_t rows) {
  std::vector<std::uint64_t> bits(words_for(rows), ~std::uint64_t{0});
  if (rows % 64 != 0) bits.back() = (std::uint64_t{1} << (rows % 64)) - 1;
  return bits;
}

bool has_index(SqliteDatabase& database, bool any_version) {
  const std::int64_t application = database.number("PRAGMA application_id").value_or(0);
  if (application != kApplication) {
    const std::int64_t tables = database.number("SELECT count(*) FROM sqlite_master").value_or(0);
    if (application == 0 && tables == 0) return false;
    throw Error("expected a picture index, got another program's database",
                database.file().string());
  }
  const std::int64_t version = database.number("PRAGMA user_version").value_or(0);
  if (version != kIndexVersion && !any_version) {
    throw Error(
        fmt::format("expected an index of version {}, got version {}", kIndexVersion, version),
        database.file().string(), "--rebuild makes it again");
  }
  return true;
}

void make_tables(SqliteDatabase& database) {
  const std::int64_t last = last_picture(database);
  const std::optional<std::string> id = old_id(database);
  for (const std::string& name : table_names(database)) {
    database.run_all("DROP TABLE " + quoted(name));
  }
  database.run_all(kTables);
  database.run_all(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplication,
                               kIndexVersion));
  database.run("INSERT INTO sqlite_sequence(name, seq) VALUES ('pictures', ?)", last);
  database.run("INSERT INTO texts VALUES (?, lower(hex(randomblob(16))))", kIdKey);
  if (id) database.run("UPDATE texts SET text = ? WHERE key = ?", *id, kIdKey);
}

Generation read_generation(SqliteDatabase& database) {
  Generation generation;
  {
    SqlStatement row = database.query(
        "SELECT number, model_hash, model_folder, queries, width, pictures, files, bad_files, "
        "next_part, fitted_on, basis FROM generation");
    if (!row.next()) fail_as_damaged(database, "it has no generation");
    generation.number = row.number(0);
    generation.identity = {row.text(1), row.text(2), {row.number(3), row.number(4)}};
    generation.pictures = row.number(5);
    generation.files = row.number(6);
    generation.bad_files = row.number(7);
    generation.next_part = row.number(8);
    read_basis(database, row, generation);
  }
  read_parts(database, generation);
  return generation;
}

std::int64_t last_generation(SqliteDatabase& database) {
  const bool has_tables =
      database.number("SELECT 1 FROM sqlite_master WHERE name = 'generation'").has_value() &&
      database.number("PRAGMA user_version") == kIndexVersion;
  return has_tables ? generation_number(database) : 0;
}

std::int64_t generation_number(SqliteDatabase& database) {
  return database.number("SELECT number FROM generation").value_or(0);
}

void write_generation(SqliteDatabase& database, const Generation& generation) {
  const IndexIdentity& identity = generation.identity;
  database.run("DELETE FROM parts");
  std::int64_t place = 0;
  for (const IndexPart& part : generation.parts) {
    database.run(
        "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", part.number, place++,
        static_cast<std::int64_t>(part.rows), std::bit_cast<std::int64_t>(part.sums.numbers),
        std::bit_cast<std::int64_t>(part.sums.bodies), std::bit_cast<std::int64_t>(part.sums.heads),
        static_cast<double>(part.largest_error), SqlBlob(std::as_bytes(std::span(part.alive))));
  }
  database.run("DELETE FROM generation");
  database.run("INSERT INTO generation VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
               generation.number, identity.model_hash, SqlBlob(identity.model_folder),
               identity.shape.queries, identity.shape.width, generation.pictures, generation.files,
               generation.bad_files, generation.next_part, generation.fitted_on);
  if (!generation.basis) return;
  database.run("UPDATE generation SET basis = ?", SqlBlob(generation.basis->bytes()));
}

std::shared_ptr<const VectorFile> open_part(const std::filesystem::path& folder,
                                            const Generation& generation, const IndexPart& part) {
  auto file = std::make_shared<const VectorFile>(folder / vector_file_name(part.number));
  const VectorFileHeader& header = file->header();
  const bool fits = header.shape == generation.identity.shape && header.rows == part.rows &&
                    file->sum_of_numbers() == part.sums.numbers;
  if (!fits) {
    throw Error("the file is not the one that the index names, or it is damaged",
                file->path().string(), "--rebuild makes the index again");
  }
  return file;
}

}  // namespace blip2
