#include <libpq-fe.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/io/utf8.h"
#include "blip2/postgres/connection_internal.h"
#include "blip2/postgres/remote_place.h"

namespace blip2 {
namespace {

// libpq's messages on one line: hints for people at a terminal begin with a tab.
std::string on_one_line(std::string_view message) {
  std::string result;
  while (!message.empty()) {
    const std::size_t end = std::min(message.find('\n'), message.size());
    const std::string_view line = message.substr(0, end);
    if (!line.empty() && line[0] != '\t') result += (result.empty() ? "" : "; ") + one_line(line);
    message.remove_prefix(std::min(end + 1, message.size()));
  }
  return result;
}

std::string hint_for(std::string_view state) {
  if (state == "42501") return "ask the database's owner to GRANT it";
  if (state == "57014") return "options=-c%20statement_timeout=… in the URL sets another limit";
  if (state == "53100") return "nothing of this step was written";
  if (state.starts_with("57P")) return "run the command again when it is back";
  return {};
}

std::string place_of(PGconn* connection) {
  const auto text = [](const char* part) { return std::string(part ? part : ""); };
  const std::string server = text(PQhost(connection)), port = text(PQport(connection));
  const std::string database = text(PQdb(connection));
  if (server.starts_with('/')) return "postgresql:///" + database + "?host=" + server;
  return "postgresql://" + server + ":" + port + "/" + database;
}

// Whether there is one @ at most in front of the options, and no / before it.
bool is_clear(const std::string& url) {
  const std::size_t first = url.find('@'), last = url.rfind('@', url.find('?', first));
  return first == last && (first == url.npos || url.find('/', url.find("://") + 3) > first);
}

bool has_port_of_digits(const std::string& url) {
  char* problem = nullptr;
  const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> options(
      PQconninfoParse(url.c_str(), &problem), PQconninfoFree);
  PQfreemem(problem);
  if (!options) return false;
  for (const PQconninfoOption* option = options.get(); option->keyword; ++option)
    if (std::string_view(option->keyword) == "port" && option->val &&
        std::string_view(option->val).find_first_not_of("0123456789,") != std::string::npos)
      return false;
  return true;
}

PGconn* connect(const std::string& url) {
  // What stands before the URL is a default that it may override.
  std::vector<const char*> names = {"fallback_application_name"}, values = {"blip2"};
  const auto add = [&](const char* name, const char* value) {
    names.push_back(name);
    values.push_back(value);
  };
  if (!std::getenv("PGCONNECT_TIMEOUT")) add("connect_timeout", "10");
  add("dbname", url.c_str());
  add("client_encoding", "UTF8");
  add(nullptr, nullptr);
  return PQconnectdbParams(names.data(), values.data(), 1);
}

}  // namespace

bool names_postgres(const std::string& text) {
  return text.starts_with("postgresql://") || text.starts_with("postgres://");
}

PostgresResult::PostgresResult(pg_result* result) : result_(result, PQclear) {}

std::size_t PostgresResult::rows() const {
  return static_cast<std::size_t>(PQntuples(result_.get()));
}

std::int64_t PostgresResult::changed() const {
  return std::strtoll(PQcmdTuples(result_.get()), nullptr, 10);
}

bool PostgresResult::is_null(std::size_t row, int column) const {
  return PQgetisnull(result_.get(), static_cast<int>(row), column) != 0;
}

std::string_view PostgresResult::bytes(std::size_t row, int column) const {
  const int at = static_cast<int>(row);
  return {PQgetvalue(result_.get(), at, column),
          static_cast<std::size_t>(PQgetlength(result_.get(), at, column))};
}

std::int64_t PostgresResult::integer(std::size_t row, int column) const {
  return integer_of(bytes(row, column));
}

std::optional<std::int64_t> PostgresResult::maybe_integer(std::size_t row, int column) const {
  if (is_null(row, column)) return std::nullopt;
  return integer(row, column);
}

void check_postgres_url(const std::string& url) {
  if (!names_postgres(url) || !is_clear(url) || !has_port_of_digits(url))
    throw Error("cannot be read", "URL of Postgres",
                "expected postgresql://USER:PASSWORD@SERVER:PORT/DATABASE, with special characters "
                "of user and password as %XX");
}

PostgresConnection::PostgresConnection(const std::string& url, const char* timeout) {
  check_postgres_url(url);
  connection_ = std::shared_ptr<pg_conn>(connect(url), PQfinish);
  if (!connection_) throw Error("out of memory", "Postgres");
  place_ = place_of(connection_.get());
  if (PQstatus(connection_.get()) != CONNECTION_OK)
    throw Error(on_one_line(PQerrorMessage(connection_.get())), place_);
  PQsetNoticeReceiver(
      connection_.get(), [](void*, const PGresult*) {}, nullptr);
  run("SELECT set_config('statement_timeout', $1, false) "
      "WHERE current_setting('statement_timeout') = '0'",
      PostgresValues().text(timeout));
}

void PostgresConnection::refuse(const std::string& message, const std::string& hint) const {
  throw Error(message, place_, hint);
}

bool PostgresConnection::has_utf8() const {
  const char* encoding = PQparameterStatus(connection_.get(), "server_encoding");
  return encoding && std::string_view(encoding) == "UTF8";
}

void PostgresConnection::fail(const pg_result* result) const {
  const char* state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : nullptr;
  const char* primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : nullptr;
  const std::string message = on_one_line(primary ? primary : PQerrorMessage(connection_.get()));
  if (PQstatus(connection_.get()) == CONNECTION_OK) refuse(message, hint_for(state ? state : ""));
  refuse("Postgres went away: " + message, "run the command again when it is back");
}

PostgresResult PostgresConnection::checked(pg_result* raw) const {
  PostgresResult result(raw);
  const ExecStatusType status = PQresultStatus(raw);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_COPY_IN) fail(raw);
  return result;
}

PostgresResult PostgresConnection::run(const std::string& statement, const PostgresValues& values) {
  std::vector<const char*> data;
  std::vector<int> lengths, formats(values.size(), 1);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = values[i];
    data.push_back(value ? value->empty() ? "" : value->data() : nullptr);
    lengths.push_back(value ? static_cast<int>(value->size()) : 0);
  }
  return checked(PQexecParams(connection_.get(), statement.c_str(), static_cast<int>(values.size()),
                              nullptr, data.data(), lengths.data(), formats.data(), 1));
}

void PostgresConnection::put_copy(std::string_view bytes) const {
  if (PQputCopyData(connection_.get(), bytes.data(), static_cast<int>(bytes.size())) != 1)
    fail(nullptr);
}

void PostgresConnection::copy_in(const std::string& statement,
                                 const std::function<std::optional<std::string>()>& next) {
  checked(PQexec(connection_.get(), statement.c_str()));
  try {
    put_copy(copy_head());
    while (const auto row = next()) put_copy(*row);
    put_copy(copy_end());
  } catch (...) {
    PQputCopyEnd(connection_.get(), "the program stopped");
    while (PGresult* result = PQgetResult(connection_.get())) PQclear(result);
    throw;
  }
  if (PQputCopyEnd(connection_.get(), nullptr) != 1) fail(nullptr);
  checked(PQgetResult(connection_.get()));
  while (PGresult* result = PQgetResult(connection_.get())) PQclear(result);
}

std::string PostgresConnection::quote_name(const std::string& name) const {
  char* quoted = PQescapeIdentifier(connection_.get(), name.c_str(), name.size());
  if (!quoted) refuse("the name of a schema is no text in UTF-8");
  const std::string result(quoted);
  PQfreemem(quoted);
  return result;
}

PostgresTransaction::PostgresTransaction(PostgresConnection& connection, const char* kind)
    : connection_(connection) {
  connection_.run(kind);
}

PostgresTransaction::~PostgresTransaction() {
  try {
    if (open_) connection_.run("ROLLBACK");
  } catch (const Error&) {  // the server has rolled it back with the connection
  }
}

void PostgresTransaction::commit() {
  connection_.run("COMMIT");
  open_ = false;
}

}  // namespace blip2
