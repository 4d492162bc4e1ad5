#include <fmt/format.h>

#include <cstdlib>
#include <map>
#include <string>

#include "blip2/base/error.h"
#include "blip2/postgres/schema_internal.h"

namespace blip2 {
namespace {

constexpr std::int64_t kMostWidthOfHnsw = 4000;  // pgvector's limit for halfvec

// A row of `pictures` is seen by readers unless its `copy` is the pending one of a source. Bodies
// are stored outside of their rows, so that reading heads does not read them.
constexpr const char* kTables[] = {
    "CREATE TABLE about (key text PRIMARY KEY, value text NOT NULL)",
    "CREATE SEQUENCE copies",
    "CREATE TABLE sources (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
    "name text NOT NULL UNIQUE, place text NOT NULL, generation bigint, pending bigint, "
    "pictures bigint NOT NULL DEFAULT 0, files bigint NOT NULL DEFAULT 0, "
    "bad_files bigint NOT NULL DEFAULT 0, largest_error double precision NOT NULL DEFAULT 0, "
    "copied timestamptz)",
    "CREATE TABLE source_values (source bigint NOT NULL REFERENCES sources ON DELETE CASCADE, "
    "key text NOT NULL, value text NOT NULL, PRIMARY KEY (source, key))",
    "CREATE TABLE bases (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
    "source bigint NOT NULL REFERENCES sources ON DELETE CASCADE, hash text NOT NULL, "
    "bytes bytea NOT NULL, UNIQUE (source, hash))",
    "CREATE TABLE files (source bigint NOT NULL REFERENCES sources ON DELETE CASCADE, "
    "path bytea NOT NULL, number bigint NOT NULL, bytes bigint NOT NULL, modified bigint NOT NULL, "
    "PRIMARY KEY (source, path))",
    "CREATE INDEX files_number ON files (source, number)",
};

std::string pictures_table(std::int64_t width) {
  return fmt::format(
      "CREATE TABLE pictures (source bigint NOT NULL, number bigint NOT NULL, "
      "checksum bigint NOT NULL, copy bigint NOT NULL, content bytea NOT NULL, "
      "width bigint NOT NULL, height bigint NOT NULL, taken bigint, camera text NOT NULL, "
      "caption text NOT NULL, basis bigint NOT NULL, head bytea NOT NULL, body bytea NOT NULL, "
      "centroid halfvec({}) NOT NULL, PRIMARY KEY (source, number, checksum)) "
      "PARTITION BY LIST (source)",
      width);
}

bool has_pgvector(PostgresConnection& connection) {
  return connection.run("SELECT FROM pg_extension WHERE extname = 'vector'").rows() > 0;
}

// A part of a version such as "0.8.5".
int part_of(const std::string& version, std::size_t dots) {
  std::size_t begin = 0;
  for (; dots > 0 && begin != std::string::npos; --dots) begin = version.find('.', begin) + 1;
  return std::atoi(version.c_str() + begin);
}

void check_pgvector(PostgresConnection& connection) {
  if (!has_pgvector(connection))
    connection.refuse("the database lacks pgvector",
                      "install it and let a superuser run CREATE EXTENSION vector in the database");
  const std::string version =
      connection.run("SELECT extversion FROM pg_extension WHERE extname = 'vector'").text(0, 0);
  if (part_of(version, 0) == 0 && part_of(version, 1) < 7)
    connection.refuse("pgvector " + version + " is too old, expected 0.7 or newer",
                      "install a newer one and run ALTER EXTENSION vector UPDATE");
}

// The extension if this user may make it; check_pgvector() says what is missing otherwise.
void try_extension(PostgresConnection& connection) {
  if (has_pgvector(connection)) return;
  try {
    connection.run("CREATE EXTENSION IF NOT EXISTS vector");
  } catch (const Error&) {
  }
}

// All names of tables are read in the schema; pgvector's operators in the schema that has them.
void set_search_path(PostgresConnection& connection, const std::string& schema) {
  connection.run(
      "SELECT set_config('search_path', quote_ident($1) || ', ' || quote_ident(nspname), false) "
      "FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace "
      "WHERE extname = 'vector'",
      PostgresValues().text(schema));
}

bool has_table(PostgresConnection& connection, const std::string& schema,
               const std::string& table) {
  const PostgresValues names = PostgresValues().text(schema).text(table);
  return connection
             .run(
                 "SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
                 "WHERE nspname = $1 AND relname = $2",
                 names)
             .rows() > 0;
}

void check_schema_name(const PostgresConnection& connection, const std::string& schema) {
  if (schema.empty() || schema.size() > 63)
    connection.refuse(
        fmt::format("the schema's name has {} bytes, expected 1 to 63", schema.size()));
}

void make_tables(PostgresConnection& connection, const IndexIdentity& identity) {
  for (const char* statement : kTables) connection.run(statement);
  connection.run(pictures_table(identity.shape.width));
  connection.run("ALTER TABLE pictures ALTER body SET STORAGE EXTERNAL");
  connection.run("CREATE INDEX pictures_content ON pictures (content)");
  const std::map<std::string, std::string> about = {
      {"format", kRemoteFormat},
      {"model_hash", identity.model_hash},
      {"model_folder", identity.model_folder},
      {"queries", std::to_string(identity.shape.queries)},
      {"width", std::to_string(identity.shape.width)}};
  for (const auto& [key, value] : about)
    connection.run("INSERT INTO about VALUES ($1, $2)", PostgresValues().text(key).text(value));
}

void refuse_other_tables(PostgresConnection& connection, const std::string& schema) {
  if (connection
          .run("SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
               "WHERE nspname = $1 LIMIT 1",
               PostgresValues().text(schema))
          .rows() > 0)
    connection.refuse("schema " + schema + " holds other tables", "name another with --schema");
}

void make_what_lacks(PostgresConnection& connection, const std::string& schema,
                     const IndexIdentity& identity) {
  PostgresTransaction transaction(connection);
  connection.run("SELECT pg_advisory_xact_lock(hashtextextended('blip2 schema ' || $1::text, 0))",
                 PostgresValues().text(schema));
  if (has_table(connection, schema, "about")) return;
  refuse_other_tables(connection, schema);
  if (connection.run("SELECT FROM pg_namespace WHERE nspname = $1", PostgresValues().text(schema))
          .rows() == 0)
    connection.run("CREATE SCHEMA " + connection.quote_name(schema));
  make_tables(connection, identity);
  transaction.commit();
}

// Without this right the schema's tables would look as if they were not there.
void need_usage(PostgresConnection& connection, const std::string& schema) {
  if (connection
          .run("SELECT WHERE has_schema_privilege($1::text, 'USAGE')",
               PostgresValues().text(schema))
          .rows() == 0)
    connection.refuse("permission denied for schema " + schema,
                      "ask its owner to GRANT USAGE and SELECT");
}

IndexIdentity read_identity(PostgresConnection& connection, const std::string& schema) {
  need_usage(connection, schema);
  std::map<std::string, std::string> about;
  const PostgresResult rows = connection.run("SELECT key, value FROM about");
  for (std::size_t i = 0; i < rows.rows(); ++i) about[rows.text(i, 0)] = rows.text(i, 1);
  if (about["format"] != kRemoteFormat)
    connection.refuse(
        fmt::format("schema {} has format \"{}\", expected \"{}\"", schema, about["format"],
                    kRemoteFormat),
        "name another with --schema, or read it with the version of blip2 that wrote it");
  return {about["model_hash"],
          about["model_folder"],
          {std::atoll(about["queries"].c_str()), std::atoll(about["width"].c_str())}};
}

}  // namespace

void make_remote_schema(PostgresConnection& connection, const std::string& schema,
                        const IndexIdentity& identity) {
  check_schema_name(connection, schema);
  if (!connection.has_utf8())
    connection.refuse("the database does not store texts as UTF-8",
                      "make one with CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0");
  try_extension(connection);
  check_pgvector(connection);
  set_search_path(connection, schema);
  make_what_lacks(connection, schema, identity);
  const IndexIdentity there = read_identity(connection, schema);
  if (there.model_hash != identity.model_hash || there.shape != identity.shape)
    connection.refuse(
        "schema " + schema + " holds pictures of another model (" + there.model_folder + ")",
        "name another with --schema");
}

IndexIdentity use_remote_schema(PostgresConnection& connection, const std::string& schema) {
  check_schema_name(connection, schema);
  check_pgvector(connection);
  set_search_path(connection, schema);
  if (!has_table(connection, schema, "about"))
    connection.refuse("there is no index in schema " + schema,
                      "blip2 index INDEX --to postgresql://… copies one there");
  return read_identity(connection, schema);
}

void make_picture_part(PostgresConnection& connection, std::int64_t source) {
  const std::string part = fmt::format("pictures_{}", source);
  PostgresTransaction transaction(connection);
  if (!connection.run("SELECT to_regclass($1)", PostgresValues().text(part)).is_null(0, 0)) return;
  // A table that is attached, unlike one that is made a part at once, waits for no reader.
  connection.run("CREATE TABLE " + part + " (LIKE pictures INCLUDING ALL)");
  connection.run(
      fmt::format("ALTER TABLE pictures ATTACH PARTITION {} FOR VALUES IN ({})", part, source));
  transaction.commit();
}

void make_centroid_index(PostgresConnection& connection, std::int64_t source, std::int64_t width) {
  if (width > kMostWidthOfHnsw) return;
  PostgresTransaction transaction(connection);
  connection.run("SET LOCAL statement_timeout = 0");
  connection.run(
      fmt::format("CREATE INDEX IF NOT EXISTS pictures_{0}_centroid ON pictures_{0} "
                  "USING hnsw (centroid halfvec_ip_ops)",
                  source));
  transaction.commit();
}

}  // namespace blip2
