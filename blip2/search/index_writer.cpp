#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/search/facts_internal.h"
#include "blip2/search/folder_lock_internal.h"
#include "blip2/search/generation_internal.h"
#include "blip2/search/index_folder_internal.h"
#include "blip2/search/part_merge_internal.h"
#include "blip2/search/picture_index.h"
#include "blip2/search/waiting_pictures_internal.h"

namespace blip2 {
namespace {

// From this size on a commit waits for readers to move to the new generation, so that the log can
// begin again.
constexpr std::uintmax_t kLongLog = 64u << 20;
constexpr int kWaitForReadersMs = 2000;

// Makes the folder; Error if it holds other files.
std::filesystem::path prepared(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw Error("cannot make the folder: " + error.message(), folder.string());
  if (!std::filesystem::exists(folder / kDatabaseName)) require_no_other_files(folder);
  return folder;
}

void require_same_model(const IndexIdentity& has, const IndexIdentity& wanted,
                        const std::filesystem::path& folder) {
  if (has.model_hash == wanted.model_hash && has.shape == wanted.shape) return;
  throw Error(
      fmt::format("the index is bound to the model {} ({}, {} x {} numbers a picture), got "
                  "{} ({}, {} x {})",
                  has.model_folder, has.model_hash, has.shape.queries, has.shape.width,
                  wanted.model_folder, wanted.model_hash, wanted.shape.queries, wanted.shape.width),
      folder.string(), "--rebuild makes the index again with this model");
}

}  // namespace

struct IndexWriter::State {
  State(const std::filesystem::path& path, const IndexIdentity& identity, bool rebuild);
  ~State();

  void start_anew();
  void begin();
  void require_usable();
  void count(const std::optional<FileFacts>& file, std::int64_t by);
  std::set<std::int64_t> drop_unused();
  void bury(const std::set<std::int64_t>& pictures);
  void drop_dead_parts();
  void merge();
  void save();
  void end_transaction();
  void tidy();
  void abandon() noexcept;

  std::filesystem::path folder;
  FolderLock lock;
  SqliteDatabase database;
  Generation generation;  // as the next commit makes it
  WaitingPictures waiting;
  std::set<std::int64_t> unsure;  // pictures that may have no file
  bool is_open = false, has_failed = false;
};

IndexWriter::State::State(const std::filesystem::path& path, const IndexIdentity& identity,
                          bool rebuild)
    : folder(prepared(path)),
      lock(folder / kLockName),
      database(folder / kDatabaseName, SqliteDatabase::Access::kWrite),
      waiting(identity.shape) {
  const bool is_there = has_index(database, rebuild);
  if (!is_there) require_no_other_files(folder);
  if (is_there && !rebuild) {
    generation = read_generation(database);
    require_same_model(generation.identity, identity, folder);
    generation.identity.model_folder = identity.model_folder;
    tidy();
  }
  generation.next_part = std::max(generation.next_part, last_vector_file(folder) + 1);
  if (is_there && !rebuild) return;
  generation.identity = identity;
  start_anew();
}

IndexWriter::State::~State() {
  if (is_open) abandon();
}

// Everything that there is goes away in the first transaction.
void IndexWriter::State::start_anew() {
  generation.number = last_generation(database);
  begin();
  try {
    make_tables(database);
  } catch (...) {
    abandon();
    throw;
  }
}

void IndexWriter::State::begin() {
  require_usable();
  if (is_open) return;
  database.checkpoint(0);
  database.run("BEGIN IMMEDIATE");
  is_open = true;
}

// After a failure SQLite may have rolled back what was written before.
void IndexWriter::State::require_usable() {
  has_failed = has_failed || database.has_failed() || (is_open && !database.in_transaction());
  if (!has_failed) return;
  throw Error("an earlier error has ended this writing", folder.string(), "write the index again");
}

void IndexWriter::State::abandon() noexcept {
  has_failed = true;
  is_open = false;
  try {
    if (database.in_transaction()) database.run("ROLLBACK");
  } catch (const Error&) {  // the database is as it was in any case
  }
}

void IndexWriter::State::count(const std::optional<FileFacts>& file, std::int64_t by) {
  if (!file) return;
  (file->picture ? generation.files : generation.bad_files) += by;
  if (file->picture && by < 0) unsure.insert(*file->picture);
}

// Drops the pictures that no file has; those of earlier generations and of this one.
std::set<std::int64_t> IndexWriter::State::drop_unused() {
  std::set<std::int64_t> dropped;
  for (const std::int64_t picture : unsure) {
    if (database.number("SELECT 1 FROM files WHERE picture = ? LIMIT 1", picture)) continue;
    database.run("DELETE FROM pictures WHERE number = ?", picture);
    if (database.changes() > 0) dropped.insert(picture);
  }
  generation.pictures -= static_cast<std::int64_t>(dropped.size());
  unsure.clear();
  return dropped;
}

void IndexWriter::State::bury(const std::set<std::int64_t>& pictures) {
  auto picture = pictures.begin();
  for (IndexPart& part : generation.parts) {
    if (picture == pictures.end()) return;
    const auto file = open_part(folder, generation, part);
    for (; picture != pictures.end() && *picture <= file->numbers().back(); ++picture) {
      if (const auto row = file->row_of(*picture)) part.bury(*row);
    }
  }
}

void IndexWriter::State::drop_dead_parts() {
  std::erase_if(generation.parts, [](const IndexPart& part) { return part.alive_rows() == 0; });
}

void IndexWriter::State::merge() {
  std::vector<PartSize> sizes;
  for (const IndexPart& part : generation.parts) sizes.push_back({part.rows, part.alive_rows()});
  std::vector<PartRange> ranges = plan_merges(sizes);
  if (ranges.empty()) return;
  if (should_fit_again(generation, ranges)) {
    return encode_again(folder, generation, generation.next_part++);
  }
  std::reverse(ranges.begin(), ranges.end());  // so that the places of the others stay
  for (const PartRange& range : ranges) {
    IndexPart merged = merge_parts(folder, generation, range, generation.next_part++);
    const auto begin = generation.parts.begin();
    generation.parts.erase(begin + range.begin + 1, begin + range.end);
    generation.parts[range.begin] = std::move(merged);
  }
}

void IndexWriter::State::save() {
  const std::set<std::int64_t> dropped = drop_unused();
  if (!waiting.empty()) waiting.write(folder, generation);
  bury(dropped);
  drop_dead_parts();
  merge();
  ++generation.number;
  write_generation(database, generation);
  database.run("COMMIT");
}

// Deletes the files that no generation names.
void IndexWriter::State::tidy() {
  std::set<std::int64_t> named;
  for (const IndexPart& part : generation.parts) named.insert(part.number);
  delete_other_vectors(folder, named);
}

void IndexWriter::State::end_transaction() {
  is_open = false;
  std::error_code error;
  const auto log_bytes = std::filesystem::file_size(database.log(), error);
  database.checkpoint(!error && log_bytes > kLongLog ? kWaitForReadersMs : 0);
  tidy();
}

IndexWriter::IndexWriter(const std::filesystem::path& folder, const IndexIdentity& identity,
                         bool rebuild)
    : state_(std::make_unique<State>(folder, identity, rebuild)) {}
IndexWriter::~IndexWriter() = default;

std::map<std::string, FileFacts> IndexWriter::files() const {
  state_->require_usable();
  std::map<std::string, FileFacts> files;
  SqlStatement row = all_files(state_->database);
  visit_files(row, [&](FileFacts file) {
    std::string path = file.path;
    files.emplace_hint(files.end(), std::move(path), std::move(file));
  });
  return files;
}

std::optional<std::int64_t> IndexWriter::find_picture(const ContentHash& content) const {
  state_->require_usable();
  return blip2::find_picture(state_->database, content);
}

std::int64_t IndexWriter::add_picture(const PictureFacts& facts, std::span<const float> vectors) {
  State& state = *state_;
  const VectorShape shape = state.generation.identity.shape;
  need(std::ssize(vectors) == shape.queries * shape.width,
       fmt::format("expected {} x {} numbers, got {}", shape.queries, shape.width, vectors.size()),
       "vectors of a picture");
  state.begin();
  if (const auto known = blip2::find_picture(state.database, facts.content)) return *known;
  state.database.run(
      "INSERT INTO pictures(hash, width, height, taken, camera, caption, look) VALUES (?, ?, ?, ?, "
      "?, ?, ?)",
      SqlBlob(column_of(facts.content)), facts.width, facts.height, facts.taken, facts.camera,
      facts.caption, SqlBlob(facts.look));
  const std::int64_t number = state.database.last_number();
  state.waiting.add(number, vectors, state.generation.basis.get());
  ++state.generation.pictures;
  state.unsure.insert(number);
  if (state.waiting.are_many()) state.waiting.write(state.folder, state.generation);
  return number;
}

void IndexWriter::set_caption(std::int64_t picture, const std::string& caption) {
  state_->begin();
  state_->database.run("UPDATE pictures SET caption = ? WHERE number = ?", caption, picture);
  need(state_->database.changes() > 0, fmt::format("there is no picture {}", picture),
       state_->folder.string());
}

void IndexWriter::put_file(const FileFacts& file) {
  State& state = *state_;
  state.begin();
  const auto found = state.database.number("SELECT 1 FROM pictures WHERE number = ?", file.picture);
  need(!file.picture || found, fmt::format("there is no picture {}", file.picture.value_or(0)),
       file.path);
  state.count(find_file(state.database, file.path), -1);
  state.database.run("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", SqlBlob(file.path),
                     static_cast<std::int64_t>(file.bytes), file.modified, file.picture,
                     file.problem);
  state.count(file, 1);
}

void IndexWriter::remove_file(const std::string& path) {
  state_->begin();
  state_->count(find_file(state_->database, path), -1);
  state_->database.run("DELETE FROM files WHERE path = ?", SqlBlob(path));
}

void IndexWriter::set_value(const std::string& key, const std::string& text) {
  state_->begin();
  state_->database.run("INSERT OR REPLACE INTO texts VALUES (?, ?)", key, text);
}

std::int64_t IndexWriter::commit() {
  State& state = *state_;
  state.require_usable();
  if (!state.is_open) return state.generation.number;
  try {
    state.save();
  } catch (...) {
    state.abandon();
    throw;
  }
  state.end_transaction();
  return state.generation.number;
}

}  // namespace blip2
