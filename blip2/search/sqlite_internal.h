#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace blip2 {

// Bytes for a column, such as a path, which need not be UTF-8.
struct SqlBlob {
  std::span<const std::byte> bytes;

  explicit SqlBlob(std::span<const std::byte> all) : bytes(all) {}
  explicit SqlBlob(std::string_view text) : bytes(std::as_bytes(std::span(text))) {}
};

class SqliteDatabase;

// A statement with its parameters, for one use; the database keeps the compiled form. For one
// thread at a time, and not two of the same text at once.
class SqlStatement {
 public:
  SqlStatement(const SqliteDatabase& database, sqlite3_stmt* statement)
      : database_(&database), statement_(statement) {}
  SqlStatement(SqlStatement&& other) noexcept;
  SqlStatement& operator=(SqlStatement&&) = delete;
  ~SqlStatement();

  void bind(int place, std::int64_t number);
  void bind(int place, double number);
  void bind(int place, std::string_view text);
  void bind(int place, SqlBlob blob);
  void bind(int place, std::optional<std::int64_t> number);
  void bind(int place, const std::string& text) { bind(place, std::string_view(text)); }

  bool next();  // the next row, if there is one
  bool is_null(int column) const;
  std::int64_t number(int column) const;
  double real(int column) const;
  std::optional<std::int64_t> maybe_number(int column) const;
  std::span<const std::byte> bytes(int column) const;  // until next()
  std::string text(int column) const;                  // or a blob's bytes

 private:
  const SqliteDatabase* database_;
  sqlite3_stmt* statement_;
};

// A connection to a SQLite database. For one thread at a time. Errors name the file.
class SqliteDatabase {
 public:
  enum class Access { kRead, kWrite };
  // With kWrite the file is made if it is not there, and works with a write-ahead log.
  SqliteDatabase(std::filesystem::path file, Access access);
  ~SqliteDatabase();
  SqliteDatabase(const SqliteDatabase&) = delete;
  SqliteDatabase& operator=(const SqliteDatabase&) = delete;

  template <typename... Values>
  SqlStatement query(std::string_view sql, const Values&... values) {
    SqlStatement statement(*this, compiled(sql));
    [[maybe_unused]] int place = 0;
    (statement.bind(++place, values), ...);
    return statement;
  }
  template <typename... Values>
  void run(std::string_view sql, const Values&... values) {
    SqlStatement statement = query(sql, values...);
    while (statement.next()) {
    }
  }
  // The first column of the first row; nullopt if there is no row.
  template <typename... Values>
  std::optional<std::int64_t> number(std::string_view sql, const Values&... values) {
    SqlStatement statement = query(sql, values...);
    return statement.next() ? statement.maybe_number(0) : std::nullopt;
  }

  // Several statements without parameters or results.
  void run_all(const std::string& sql);
  // Moves what the log has into the database, as far as readers of older states allow, and waits
  // for them up to `wait_ms` to empty the log. What cannot be done now is left for the next time.
  void checkpoint(int wait_ms);
  bool in_transaction() const;
  std::int64_t last_number() const;  // of the row added last
  std::int64_t changes() const;      // rows that the last statement changed
  // Whether a statement has failed, after which parts of a transaction may be missing.
  bool has_failed() const { return failed_; }
  // Throws Error for SQLite's result `code`.
  [[noreturn]] void fail(int code) const;

  const std::filesystem::path& file() const { return file_; }
  std::filesystem::path log() const { return file_.string() + "-wal"; }

 private:
  void require(int code) const;
  sqlite3_stmt* compiled(std::string_view sql);
  void harden();
  void set_up(Access access);

  std::filesystem::path file_;
  sqlite3* handle_ = nullptr;
  std::map<std::string, sqlite3_stmt*, std::less<>> statements_;
  mutable bool failed_ = false;
};

}  // namespace blip2
