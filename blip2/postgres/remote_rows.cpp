#include "blip2/postgres/remote_rows_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/postgres/content_bytes_internal.h"

namespace blip2 {
namespace {

constexpr const char* kColumns = "source, number, checksum, content, basis, head";
constexpr const char* kKeys =
    "unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY "
    "AS h (source, number, checksum, at)";

// A statement and what its parameters stand for.
struct Statement {
  std::string text;
  PostgresValues values;

  // `{0}` in a piece of the statement stands for the value that was added last.
  void add(const char* piece) {
    text += fmt::format(fmt::runtime(piece), fmt::format("${}", values.size()));
  }
};

std::string below(std::string folder) {
  while (!folder.empty() && folder.back() == '/') folder.pop_back();
  return folder + "/";
}

void add_file_conditions(Statement& statement, const PictureFilter& filter) {
  statement.add(
      " AND EXISTS (SELECT FROM files f WHERE f.source = p.source AND f.number = p.number");
  if (!filter.folder.empty()) {
    std::string path = below(filter.folder);
    statement.values.bytes(path);
    statement.add(" AND f.path >= {0}");
    path.back() = '0';  // the byte after '/'
    statement.values.bytes(path);
    statement.add(" AND f.path < {0}");
  }
  if (filter.after) {
    statement.values.integer(*filter.after);
    statement.add(" AND coalesce(p.taken, f.modified / 1000000000) >= {0}");
  }
  if (filter.before) {
    statement.values.integer(*filter.before);
    statement.add(" AND coalesce(p.taken, f.modified / 1000000000) < {0}");
  }
  statement.add(")");
}

// Whole copies alone, and of those what passes: as the index itself filters (search/facts.cpp).
void add_conditions(Statement& statement, std::span<const std::int64_t> pending,
                    const PictureFilter& filter) {
  statement.values.integers(pending);
  statement.add(" FROM pictures p WHERE copy <> ALL ({0}::bigint[])");
  if (filter.min_side) {
    statement.values.integer(*filter.min_side);
    statement.add(" AND least(width, height) >= {0}");
  }
  if (!filter.camera.empty()) {
    statement.values.text(filter.camera);
    statement.add(" AND strpos(lower(camera COLLATE \"C\"), lower({0} COLLATE \"C\")) > 0");
  }
  if (!filter.folder.empty() || filter.after || filter.before)
    add_file_conditions(statement, filter);
}

PostgresValues values_of(std::span<const RemoteKey> keys) {
  PostgresValues values;
  for (const auto member : {&RemoteKey::source, &RemoteKey::number, &RemoteKey::checksum}) {
    std::vector<std::int64_t> column;
    for (const RemoteKey& key : keys) column.push_back(key.*member);
    values.integers(column);
  }
  return values;
}

void append(std::vector<std::byte>& to, std::string_view bytes) {
  const auto span = std::as_bytes(std::span(bytes));
  to.insert(to.end(), span.begin(), span.end());
}

}  // namespace

RemoteRows::RemoteRows(PostgresConnection& connection, VectorShape shape)
    : connection_(connection), sizes_(code_sizes(shape)) {
  const auto pending = connection_.run("SELECT pending FROM sources WHERE pending IS NOT NULL");
  for (std::size_t i = 0; i < pending.rows(); ++i) pending_.push_back(pending.integer(i, 0));
  const auto bases = connection_.run("SELECT id, bytes FROM bases");
  for (std::size_t i = 0; i < bases.rows(); ++i)
    bases_.emplace(bases.integer(i, 0),
                   Basis::from_bytes(shape, std::as_bytes(std::span(bases.bytes(i, 1)))));
}

const Basis& RemoteRows::basis(std::int64_t id) const {
  const auto found = bases_.find(id);
  if (found == bases_.end()) connection_.refuse(fmt::format("there is no basis {}", id));
  return found->second;
}

void RemoteRows::add(const PostgresResult& rows, std::size_t row, bool with_body,
                     CodesByBasis& codes) const {
  RemoteCodes& to = codes[rows.integer(row, 4)];
  const std::string_view head = rows.bytes(row, 5);
  const std::string_view body = with_body ? rows.bytes(row, 6) : std::string_view();
  if (head.size() != sizes_.head || (with_body && body.size() != sizes_.body))
    connection_.refuse(fmt::format("picture {} of source {} has {} + {} bytes, expected {} + {}",
                                   rows.integer(row, 1), rows.integer(row, 0), head.size(),
                                   body.size(), sizes_.head, sizes_.body));
  to.keys.push_back({rows.integer(row, 0), rows.integer(row, 1), rows.integer(row, 2)});
  to.contents.push_back(content_of(rows.bytes(row, 3)));
  append(to.heads, head);
  append(to.bodies, body);
}

CodesByBasis RemoteRows::heads(const PictureFilter& filter) {
  Statement statement;
  statement.add("DECLARE heads NO SCROLL CURSOR FOR SELECT ");
  statement.add(kColumns);
  add_conditions(statement, pending_, filter);
  connection_.run(statement.text, statement.values);
  CodesByBasis codes;
  for (bool more = true; more;) {
    if (interrupted()) throw Interrupted{};
    const PostgresResult rows = connection_.run("FETCH 4096 FROM heads");
    for (std::size_t i = 0; i < rows.rows(); ++i) add(rows, i, false, codes);
    more = rows.rows() > 0;
  }
  connection_.run("CLOSE heads");
  return codes;
}

CodesByBasis RemoteRows::nearest(std::span<const float> vector, const PictureFilter& filter,
                                 std::size_t most) {
  connection_.run(fmt::format("SET LOCAL hnsw.ef_search = {}", std::min<std::size_t>(most, 1000)));
  Statement statement;
  statement.add("SELECT ");
  statement.add(kColumns);
  statement.add(", body");
  add_conditions(statement, pending_, filter);
  statement.values.halves(vector);
  statement.add(" ORDER BY centroid <#> {0}::halfvec");
  statement.values.integer(static_cast<std::int64_t>(most));
  statement.add(" LIMIT {0}");
  const PostgresResult rows = connection_.run(statement.text, statement.values);
  CodesByBasis codes;
  for (std::size_t i = 0; i < rows.rows(); ++i) add(rows, i, true, codes);
  return codes;
}

std::vector<std::byte> RemoteRows::bodies(std::span<const RemoteKey> keys) {
  const PostgresResult rows =
      connection_.run(fmt::format("SELECT h.at, p.body FROM {} JOIN pictures p "
                                  "USING (source, number, checksum)",
                                  kKeys),
                      values_of(keys));
  if (rows.rows() != keys.size())
    connection_.refuse(
        fmt::format("{} of {} pictures are not there", keys.size() - rows.rows(), keys.size()));
  std::vector<std::byte> bodies(keys.size() * sizes_.body);
  for (std::size_t i = 0; i < rows.rows(); ++i) {
    const auto at = static_cast<std::size_t>(rows.integer(i, 0)) - 1;
    const auto body = std::as_bytes(std::span(rows.bytes(i, 1)));
    if (body.size() != sizes_.body || at >= keys.size())
      connection_.refuse(
          fmt::format("a picture has {} bytes, expected {}", body.size(), sizes_.body));
    std::ranges::copy(body, bodies.begin() + static_cast<std::ptrdiff_t>(at * sizes_.body));
  }
  return bodies;
}

void RemoteRows::describe(std::span<const RemoteKey> keys, std::span<RemoteHit> hits) {
  const PostgresResult rows = connection_.run(
      fmt::format("SELECT h.at, content, width, height, taken, camera, caption FROM {} "
                  "JOIN pictures p USING (source, number, checksum)",
                  kKeys),
      values_of(keys));
  for (std::size_t i = 0; i < rows.rows(); ++i) {
    PictureFacts& facts = hits[static_cast<std::size_t>(rows.integer(i, 0)) - 1].facts;
    facts.content = content_of(rows.bytes(i, 1));
    facts.width = rows.integer(i, 2);
    facts.height = rows.integer(i, 3);
    facts.taken = rows.maybe_integer(i, 4);
    facts.camera = rows.text(i, 5);
    facts.caption = rows.text(i, 6);
  }
  add_files(keys, hits);
}

// Of all sources that have the same content.
void RemoteRows::add_files(std::span<const RemoteKey> keys, std::span<RemoteHit> hits) {
  const PostgresResult rows = connection_.run(
      fmt::format("SELECT DISTINCT h.at, f.path, f.bytes, f.modified FROM {} "
                  "JOIN pictures p USING (source, number, checksum) "
                  "JOIN pictures q ON q.content = p.content AND q.copy <> ALL ($4::bigint[]) "
                  "JOIN files f ON f.source = q.source AND f.number = q.number "
                  "ORDER BY h.at, f.path",
                  kKeys),
      values_of(keys).integers(pending_));
  for (std::size_t i = 0; i < rows.rows(); ++i) {
    FileFacts file;
    file.path = rows.text(i, 1);
    file.bytes = static_cast<std::uint64_t>(rows.integer(i, 2));
    file.modified = rows.integer(i, 3);
    hits[static_cast<std::size_t>(rows.integer(i, 0)) - 1].files.push_back(std::move(file));
  }
}

}  // namespace blip2
