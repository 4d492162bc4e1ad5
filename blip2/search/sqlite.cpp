#include <fmt/format.h>
#include <sqlite3.h>

#include <climits>
#include <system_error>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/search/sqlite_internal.h"

namespace blip2 {
namespace {

// How long to wait for another connection that recovers or closes the database.
constexpr int kPatienceMs = 20000;
// The log's file is cut to this size when the log begins again.
constexpr int kKeptLogBytes = 64 << 20;

std::uint64_t size_of_file(const std::filesystem::path& file) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  return error ? 0 : size;
}

int length_for_sqlite(std::size_t size, const std::filesystem::path& file) {
  need(size <= INT_MAX / 2, fmt::format("a value of {} bytes is too long", size), file.string());
  return static_cast<int>(size);
}

}  // namespace

SqlStatement::SqlStatement(SqlStatement&& other) noexcept
    : database_(other.database_), statement_(std::exchange(other.statement_, nullptr)) {}

SqlStatement::~SqlStatement() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

void SqlStatement::bind(int place, std::int64_t number) {
  const int code = sqlite3_bind_int64(statement_, place, number);
  if (code != SQLITE_OK) database_->fail(code);
}

void SqlStatement::bind(int place, double number) {
  const int code = sqlite3_bind_double(statement_, place, number);
  if (code != SQLITE_OK) database_->fail(code);
}

void SqlStatement::bind(int place, std::string_view text) {
  const int length = length_for_sqlite(text.size(), database_->file());
  const char* begin = text.empty() ? "" : text.data();
  const int code = sqlite3_bind_text(statement_, place, begin, length, SQLITE_TRANSIENT);
  if (code != SQLITE_OK) database_->fail(code);
}

void SqlStatement::bind(int place, SqlBlob blob) {
  const int length = length_for_sqlite(blob.bytes.size(), database_->file());
  const void* begin = blob.bytes.empty() ? "" : static_cast<const void*>(blob.bytes.data());
  const int code = sqlite3_bind_blob(statement_, place, begin, length, SQLITE_TRANSIENT);
  if (code != SQLITE_OK) database_->fail(code);
}

void SqlStatement::bind(int place, std::optional<std::int64_t> number) {
  if (number) return bind(place, *number);
  const int code = sqlite3_bind_null(statement_, place);
  if (code != SQLITE_OK) database_->fail(code);
}

bool SqlStatement::next() {
  const int code = sqlite3_step(statement_);
  if (code != SQLITE_ROW && code != SQLITE_DONE) database_->fail(code);
  return code == SQLITE_ROW;
}

bool SqlStatement::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

std::int64_t SqlStatement::number(int column) const {
  return sqlite3_column_int64(statement_, column);
}

double SqlStatement::real(int column) const {
  return sqlite3_column_double(statement_, column);
}

std::optional<std::int64_t> SqlStatement::maybe_number(int column) const {
  return is_null(column) ? std::nullopt : std::optional(number(column));
}

std::span<const std::byte> SqlStatement::bytes(int column) const {
  const void* begin = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  if (begin == nullptr) return {};
  return {static_cast<const std::byte*>(begin), static_cast<std::size_t>(size)};
}

std::string SqlStatement::text(int column) const {
  const auto all = bytes(column);
  return {reinterpret_cast<const char*>(all.data()), all.size()};
}

SqliteDatabase::SqliteDatabase(std::filesystem::path file, Access access) : file_(std::move(file)) {
  // A reader, too, may have to roll back what a killed writer began; where the file cannot be
  // written, SQLite opens it for reading alone.
  const int rights = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                     (access == Access::kWrite ? SQLITE_OPEN_CREATE : 0);
  const int code = sqlite3_open_v2(file_.c_str(), &handle_, rights, nullptr);
  try {
    if (handle_ == nullptr) throw std::bad_alloc();
    require(code);
    sqlite3_extended_result_codes(handle_, 1);
    set_up(access);
  } catch (...) {
    for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
    sqlite3_close(handle_);
    throw;
  }
}

SqliteDatabase::~SqliteDatabase() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(handle_);
}

// A folder may come from somebody else: its database runs no code of its own.
void SqliteDatabase::harden() {
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
}

void SqliteDatabase::set_up(Access access) {
  harden();
  require(sqlite3_busy_timeout(handle_, kPatienceMs));
  // The log stays when the last connection is closed, so that users who may only read the folder
  // can open the database at any time.
  int keep_log = 1;
  require(sqlite3_file_control(handle_, "main", SQLITE_FCNTL_PERSIST_WAL, &keep_log));
  if (access == Access::kRead) {
    sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    return run_all("PRAGMA query_only = 1; PRAGMA temp_store = MEMORY");
  }
  run_all(
      fmt::format("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                  "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = {};"
                  "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536",
                  kKeptLogBytes));
}

sqlite3_stmt* SqliteDatabase::compiled(std::string_view sql) {
  const auto found = statements_.find(sql);
  if (found != statements_.end()) return found->second;
  sqlite3_stmt* statement = nullptr;
  require(sqlite3_prepare_v3(handle_, sql.data(), length_for_sqlite(sql.size(), file_),
                             SQLITE_PREPARE_PERSISTENT, &statement, nullptr));
  statements_.emplace(sql, statement);
  return statement;
}

void SqliteDatabase::run_all(const std::string& sql) {
  require(sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr));
}

void SqliteDatabase::checkpoint(int wait_ms) {
  sqlite3_busy_timeout(handle_, wait_ms);
  const int mode = wait_ms > 0 ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
  sqlite3_wal_checkpoint_v2(handle_, "main", mode, nullptr, nullptr);
  sqlite3_busy_timeout(handle_, kPatienceMs);
}

bool SqliteDatabase::in_transaction() const {
  return sqlite3_get_autocommit(handle_) == 0;
}

std::int64_t SqliteDatabase::last_number() const {
  return sqlite3_last_insert_rowid(handle_);
}

std::int64_t SqliteDatabase::changes() const {
  return sqlite3_changes64(handle_);
}

void SqliteDatabase::require(int code) const {
  if (code != SQLITE_OK) fail(code);
}

void SqliteDatabase::fail(int code) const {
  failed_ = true;
  const std::string message = sqlite3_errmsg(handle_);
  const int kind = code & 0xff;
  if (kind == SQLITE_NOTADB || kind == SQLITE_CORRUPT) {
    throw Error("the database is damaged: " + message, file_.string(),
                "delete the index's folder and make the index again");
  }
  if (kind == SQLITE_FULL || kind == SQLITE_IOERR) {
    throw Error(
        fmt::format("cannot go on after {} bytes of the log: {}", size_of_file(log()), message),
        file_.string(), "is the disk full? The last generation is still there");
  }
  if (kind == SQLITE_READONLY || kind == SQLITE_CANTOPEN) {
    throw Error("cannot open or write the database: " + message, file_.string(),
                "who may only read the folder needs the files index.db-wal and index.db-shm in it");
  }
  throw Error("SQLite says: " + message, file_.string());
}

}  // namespace blip2
