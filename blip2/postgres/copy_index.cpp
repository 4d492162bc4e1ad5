#include "blip2/postgres/copy_index.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/hash.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/log.h"
#include "blip2/base/progress.h"
#include "blip2/postgres/connection_internal.h"
#include "blip2/postgres/content_bytes_internal.h"
#include "blip2/postgres/schema_internal.h"
#include "blip2/search/mean_vector.h"
#include "blip2/search/picture_index.h"

namespace blip2 {
namespace {

constexpr const char* kWriteTimeout = "1h";    // of a statement, but for building HNSW
constexpr std::size_t kBatchBytes = 8u << 20;  // of codes that are committed at once
constexpr std::int64_t kFilesAtOnce = 4096;    // that are read of the index

void stop_if_interrupted() {
  if (interrupted()) throw Interrupted{};
}

std::string place_of_index(const std::filesystem::path& folder) {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  return std::string(host) + ":" + std::filesystem::canonical(folder).string();
}

// A picture of the index, and a sum of all that a row says of it.
struct LocalPicture {
  std::int64_t number = 0, checksum = 0;
  std::size_t part = 0, row = 0;
};

std::span<const std::byte> row_of(std::span<const std::byte> codes, std::size_t bytes,
                                  std::size_t row) {
  return codes.subspan(bytes * row, bytes);
}

// The head stands for the codes: it changes with them, and reading all bodies would take long.
std::int64_t checksum_of(const PictureFacts& facts, std::span<const std::byte> head,
                         std::uint64_t basis) {
  const std::string text =
      fmt::format("{}|{}|{}|{}|{}|{}|{}|{}", facts.content.hex(), facts.width, facts.height,
                  facts.taken ? std::to_string(*facts.taken) : "", facts.camera.size(),
                  facts.camera, facts.caption, basis);
  const std::uint64_t sum = hash_bytes(std::as_bytes(std::span(text)));
  return static_cast<std::int64_t>(hash_bytes(head, sum));
}

// The indexes' copies are told apart by the sources' names; see docs/search.md for the tables.
class IndexCopy {
 public:
  IndexCopy(const std::filesystem::path& folder, const RemotePlace& place)
      : index_(PictureIndex::open(folder)),
        connection_(place.url, kWriteTimeout),
        sizes_(code_sizes(index_->identity().shape)) {
    make_remote_schema(connection_, place.schema, index_->identity());
    find_source(place_of_index(folder));
    lock_source(place.schema);
    index_ = PictureIndex::open(folder);  // another copy may have taken long
  }

  CopyReport run() {
    if (is_there()) return report(true);
    begin();
    make_picture_part(connection_, source_);
    list_pictures();
    send_missing();
    make_centroid_index(connection_, source_, index_->identity().shape.width);
    finish();
    connection_.run(fmt::format("ANALYZE pictures_{}", source_));
    return report(false);
  }

 private:
  void find_source(const std::string& place);
  void lock_source(const std::string& schema);
  bool is_there();
  void begin();
  void list_pictures();
  std::vector<std::int64_t> missing_numbers();
  void send_missing();
  void send_batch(std::span<const LocalPicture* const> batch);
  std::int64_t basis_id(const Basis* basis);
  std::string picture_row(const LocalPicture& picture);
  void finish();
  void send_files();
  void update_files();
  void remove_pictures();
  void update_values();
  CopyReport report(bool unchanged) const;

  std::shared_ptr<const PictureIndex> index_;
  PostgresConnection connection_;
  CodeSizes sizes_;
  std::int64_t source_ = 0, copy_ = 0;
  std::vector<CodePart> parts_;
  std::vector<LocalPicture> pictures_;  // by number
  std::map<const Basis*, std::int64_t> bases_;
  CopyReport report_;
};

void IndexCopy::find_source(const std::string& place) {
  const std::string name = index_->id();
  connection_.run("INSERT INTO sources (name, place) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                  PostgresValues().text(name).text(place));
  source_ = connection_.run("SELECT id FROM sources WHERE name = $1", PostgresValues().text(name))
                .integer(0, 0);
  if (connection_
          .run("SELECT FROM sources WHERE place = $1 AND id <> $2",
               PostgresValues().text(place).integer(source_))
          .rows() > 0)
    log_warning(
        "{}: an index that was in this folder before is there too; docs/search.md says how "
        "to remove it",
        connection_.place());
}

// For as long as the connection lives.
void IndexCopy::lock_source(const std::string& schema) {
  const PostgresValues name =
      PostgresValues().text(fmt::format("blip2 source {} {}", source_, schema));
  for (bool told = false;; told = true) {
    if (connection_.run("SELECT WHERE pg_try_advisory_lock(hashtextextended($1, 0))", name).rows() >
        0)
      return;
    if (!told)
      log_info("{}: waits for another process that copies this index", connection_.place());
    stop_if_interrupted();
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
}

bool IndexCopy::is_there() {
  return connection_
             .run("SELECT FROM sources WHERE id = $1 AND generation = $2 AND pending IS NULL",
                  PostgresValues().integer(source_).integer(index_->generation()))
             .rows() > 0;
}

// Takes up what a killed copy has left.
void IndexCopy::begin() {
  copy_ = connection_
              .run(
                  "UPDATE sources SET pending = coalesce(pending, nextval('copies')) WHERE id = $1 "
                  "RETURNING pending",
                  PostgresValues().integer(source_))
              .integer(0, 0);
}

void IndexCopy::list_pictures() {
  parts_ = index_->parts();
  for (std::size_t part = 0; part < parts_.size(); ++part) {
    const CodePart& codes = parts_[part];
    const std::uint64_t basis = hash_bytes(codes.basis->bytes());
    for (std::size_t row = 0; row < codes.pictures(); ++row) {
      if (!codes.wanted.empty() && (codes.wanted[row / 64] >> row % 64 & 1) == 0) continue;
      const std::int64_t number = index_->picture_at(part, row);
      const auto head = row_of(codes.heads, sizes_.head, row);
      pictures_.push_back({number, checksum_of(index_->facts(number), head, basis), part, row});
    }
    stop_if_interrupted();
  }
  std::ranges::sort(pictures_, {}, &LocalPicture::number);
}

// Asks the server which pictures it lacks, by a table of the session.
std::vector<std::int64_t> IndexCopy::missing_numbers() {
  connection_.run("CREATE TEMP TABLE wanted (number bigint PRIMARY KEY, checksum bigint)");
  auto at = pictures_.begin();
  connection_.copy_in(
      "COPY pg_temp.wanted FROM STDIN (FORMAT binary)", [&]() -> std::optional<std::string> {
        if (at == pictures_.end()) return std::nullopt;
        const LocalPicture& picture = *at++;
        return PostgresValues().integer(picture.number).integer(picture.checksum).copy_row();
      });
  connection_.run("ANALYZE pg_temp.wanted");
  const PostgresResult rows = connection_.run(
      "SELECT number FROM pg_temp.wanted w WHERE NOT EXISTS (SELECT FROM pictures p WHERE "
      "p.source = $1 AND p.number = w.number AND p.checksum = w.checksum) ORDER BY number",
      PostgresValues().integer(source_));
  std::vector<std::int64_t> numbers;
  for (std::size_t i = 0; i < rows.rows(); ++i) numbers.push_back(rows.integer(i, 0));
  return numbers;
}

void IndexCopy::send_missing() {
  const std::vector<std::int64_t> numbers = missing_numbers();
  const std::size_t most = std::max<std::size_t>(1, kBatchBytes / (sizes_.head + sizes_.body));
  Progress progress("copy", static_cast<std::int64_t>(numbers.size()));
  std::vector<const LocalPicture*> batch;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    batch.push_back(&*std::ranges::lower_bound(pictures_, numbers[i], {}, &LocalPicture::number));
    if (batch.size() < most && i + 1 < numbers.size()) continue;
    stop_if_interrupted();
    send_batch(batch);
    batch.clear();
    progress.update(static_cast<std::int64_t>(i + 1));
  }
  report_.added = static_cast<std::int64_t>(numbers.size());
}

void IndexCopy::send_batch(std::span<const LocalPicture* const> batch) {
  for (const LocalPicture* picture : batch) basis_id(parts_[picture->part].basis);
  auto at = batch.begin();
  connection_.copy_in(
      "COPY pictures (source, number, checksum, copy, content, width, height, taken, camera, "
      "caption, basis, head, body, centroid) FROM STDIN (FORMAT binary)",
      [&]() -> std::optional<std::string> {
        if (at == batch.end()) return std::nullopt;
        return picture_row(**at++);
      });
}

std::int64_t IndexCopy::basis_id(const Basis* basis) {
  const auto [found, made] = bases_.try_emplace(basis);
  if (!made) return found->second;
  const std::vector<std::byte> bytes = basis->bytes();
  const PostgresValues values = PostgresValues()
                                    .integer(source_)
                                    .text(hash_text(hash_bytes(bytes)))
                                    .bytes(std::span<const std::byte>(bytes));
  connection_.run(
      "INSERT INTO bases (source, hash, bytes) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", values);
  const PostgresValues key = PostgresValues().integer(source_).text(hash_text(hash_bytes(bytes)));
  return found->second =
             connection_.run("SELECT id FROM bases WHERE source = $1 AND hash = $2", key)
                 .integer(0, 0);
}

std::string IndexCopy::picture_row(const LocalPicture& picture) {
  const PictureFacts facts = index_->facts(picture.number);
  const CodePart& part = parts_[picture.part];
  const auto body = row_of(part.bodies, sizes_.body, picture.row);
  return PostgresValues()
      .integer(source_)
      .integer(picture.number)
      .integer(picture.checksum)
      .integer(copy_)
      .bytes(content_bytes(facts.content))
      .integer(facts.width)
      .integer(facts.height)
      .integer(facts.taken)
      .text(facts.camera)
      .text(facts.caption)
      .integer(basis_id(part.basis))
      .bytes(row_of(part.heads, sizes_.head, picture.row))
      .bytes(body)
      .halves(mean_vector(decode(*part.basis, body), part.basis->shape().width))
      .copy_row();
}

// All that readers see changes here, at once.
void IndexCopy::finish() {
  PostgresTransaction transaction(connection_);
  send_files();
  update_files();
  remove_pictures();
  update_values();
  connection_.run(
      "UPDATE sources SET pending = NULL, generation = $2, pictures = $3, files = $4, "
      "bad_files = $5, largest_error = $6, copied = now() WHERE id = $1",
      PostgresValues()
          .integer(source_)
          .integer(index_->generation())
          .integer(static_cast<std::int64_t>(pictures_.size()))
          .integer(index_->files())
          .integer(index_->bad_files())
          .number(index_->largest_error()));
  stop_if_interrupted();
  transaction.commit();
}

void IndexCopy::send_files() {
  connection_.run(
      "CREATE TEMP TABLE wanted_files (path bytea PRIMARY KEY, number bigint, bytes bigint, "
      "modified bigint) ON COMMIT DROP");
  std::vector<FileFacts> files;
  std::int64_t first = 0;
  std::size_t at = 0;
  connection_.copy_in("COPY pg_temp.wanted_files FROM STDIN (FORMAT binary)",
                      [&]() -> std::optional<std::string> {
                        if (at == files.size()) {
                          files = index_->list_files(false, first, kFilesAtOnce);
                          first += static_cast<std::int64_t>(files.size());
                          at = 0;
                        }
                        if (files.empty()) return std::nullopt;
                        const FileFacts& file = files[at++];
                        return PostgresValues()
                            .bytes(file.path)
                            .integer(file.picture.value())
                            .integer(static_cast<std::int64_t>(file.bytes))
                            .integer(file.modified)
                            .copy_row();
                      });
  connection_.run("ANALYZE pg_temp.wanted_files");
}

void IndexCopy::update_files() {
  const PostgresValues source = PostgresValues().integer(source_);
  connection_.run(
      "DELETE FROM files f WHERE source = $1 AND NOT EXISTS "
      "(SELECT FROM pg_temp.wanted_files w WHERE w.path = f.path)",
      source);
  connection_.run(
      "INSERT INTO files (source, path, number, bytes, modified) "
      "SELECT $1, path, number, bytes, modified FROM pg_temp.wanted_files "
      "ON CONFLICT (source, path) DO UPDATE SET number = excluded.number, bytes = excluded.bytes, "
      "modified = excluded.modified WHERE (files.number, files.bytes, files.modified) "
      "IS DISTINCT FROM (excluded.number, excluded.bytes, excluded.modified)",
      source);
}

void IndexCopy::remove_pictures() {
  report_.removed =
      connection_
          .run(
              "DELETE FROM pictures p WHERE source = $1 AND NOT EXISTS (SELECT FROM "
              "pg_temp.wanted w WHERE w.number = p.number AND w.checksum = p.checksum)",
              PostgresValues().integer(source_))
          .changed();
  std::vector<std::int64_t> used;
  for (const CodePart& part : parts_) used.push_back(basis_id(part.basis));
  connection_.run("DELETE FROM bases WHERE source = $1 AND id <> ALL ($2::bigint[])",
                  PostgresValues().integer(source_).integers(used));
}

void IndexCopy::update_values() {
  connection_.run("DELETE FROM source_values WHERE source = $1", PostgresValues().integer(source_));
  for (const auto& [key, text] : index_->values())
    connection_.run("INSERT INTO source_values VALUES ($1, $2, $3)",
                    PostgresValues().integer(source_).text(key).text(text));
}

CopyReport IndexCopy::report(bool unchanged) const {
  CopyReport report = report_;
  report.pictures = index_->pictures();
  report.files = index_->files();
  report.unchanged = unchanged;
  return report;
}

}  // namespace

CopyReport copy_to_postgres(const std::filesystem::path& index, const RemotePlace& place) {
  return IndexCopy(index, place).run();
}

}  // namespace blip2
