#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "blip2/postgres/values_internal.h"

struct pg_conn;
struct pg_result;

namespace blip2 {

// Rows that a statement gave, in binary form. The views live as long as this object.
class PostgresResult {
 public:
  explicit PostgresResult(pg_result* result);

  std::size_t rows() const;
  std::int64_t changed() const;  // rows that were written or removed
  bool is_null(std::size_t row, int column) const;
  std::string_view bytes(std::size_t row, int column) const;
  std::string text(std::size_t row, int column) const { return std::string(bytes(row, column)); }
  std::int64_t integer(std::size_t row, int column) const;
  std::optional<std::int64_t> maybe_integer(std::size_t row, int column) const;

 private:
  std::shared_ptr<pg_result> result_;
};

// A connection to Postgres. All values go as parameters. Every failure is an Error of one line that
// names the server and the database, and no password. For one thread at a time.
class PostgresConnection {
 public:
  // `url` is postgresql://…, with the options that libpq reads, TLS included. A statement that
  // takes longer than `timeout` ("2min") fails, unless the server or the URL sets a limit of its
  // own.
  PostgresConnection(const std::string& url, const char* timeout);

  // "postgresql://server:port/database".
  const std::string& place() const { return place_; }
  // Refuses what comes from the server or lies on it, naming the place.
  [[noreturn]] void refuse(const std::string& message, const std::string& hint = {}) const;
  bool has_utf8() const;  // whether the database stores texts as UTF-8

  PostgresResult run(const std::string& statement, const PostgresValues& values = {});
  // COPY … FROM STDIN (FORMAT binary): calls next() for each row's bytes until it gives none. If it
  // throws, nothing is written.
  void copy_in(const std::string& statement,
               const std::function<std::optional<std::string>()>& next);
  std::string quote_name(const std::string& name) const;

 private:
  PostgresResult checked(pg_result* result) const;
  [[noreturn]] void fail(const pg_result* result) const;
  void put_copy(std::string_view bytes) const;

  std::shared_ptr<pg_conn> connection_;
  std::string place_;
};

// A transaction that is rolled back unless commit() is called.
class PostgresTransaction {
 public:
  explicit PostgresTransaction(PostgresConnection& connection, const char* kind = "BEGIN");
  ~PostgresTransaction();
  PostgresTransaction(const PostgresTransaction&) = delete;
  PostgresTransaction& operator=(const PostgresTransaction&) = delete;
  void commit();

 private:
  PostgresConnection& connection_;
  bool open_ = true;
};

}  // namespace blip2
