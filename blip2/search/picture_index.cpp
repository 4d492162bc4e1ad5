#include "blip2/search/picture_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <system_error>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/search/facts_internal.h"
#include "blip2/search/generation_internal.h"
#include "blip2/search/index_folder_internal.h"

namespace blip2 {
namespace {

// How often a reader begins again because a writer has just deleted a file of its generation.
constexpr int kTries = 100;

// Filters whose pictures an index keeps, for those who ask for page after page.
constexpr std::size_t kKeptFilters = 8;

using VectorFiles = std::vector<std::shared_ptr<const VectorFile>>;

std::unique_ptr<SqliteDatabase> open_for_reading(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / kDatabaseName;
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    throw Error("there is no index here", folder.string(), "blip2 index makes one");
  }
  auto database = std::make_unique<SqliteDatabase>(file, SqliteDatabase::Access::kRead);
  database->run("BEGIN");
  if (!has_index(*database)) {
    throw Error("there is no index here yet", folder.string(), "blip2 index makes one");
  }
  return database;
}

// A file of the generation; nullptr if it has been deleted since.
std::shared_ptr<const VectorFile> open_unless_deleted(const std::filesystem::path& folder,
                                                      const Generation& generation,
                                                      const IndexPart& part) try {
  return open_part(folder, generation, part);
} catch (const Error&) {
  std::error_code error;
  if (std::filesystem::exists(folder / vector_file_name(part.number), error)) throw;
  return nullptr;
}

// The generation's files; nullopt if one of them has been deleted since.
std::optional<VectorFiles> open_files(const std::filesystem::path& folder,
                                      const Generation& generation) {
  VectorFiles files;
  for (const IndexPart& part : generation.parts) {
    files.push_back(open_unless_deleted(folder, generation, part));
    if (!files.back()) return std::nullopt;
  }
  return files;
}

}  // namespace

struct PictureIndex::State {
  std::filesystem::path folder;
  Generation generation;
  VectorFiles files;
  // A read transaction is open on `database` as long as this object lives.
  std::mutex mutex;
  std::unique_ptr<SqliteDatabase> database, other;
  std::vector<std::pair<PictureFilter, WantedBits>> filtered;  // the last one asked for first

  WantedBits alive() const {
    WantedBits bits;
    for (const IndexPart& part : generation.parts) bits.push_back(part.alive);
    return bits;
  }
  WantedBits matching(const PictureFilter& filter) {
    WantedBits bits;
    for (const IndexPart& part : generation.parts) bits.emplace_back(part.alive.size());
    SqlStatement row = matching_pictures(*database, filter);
    while (row.next()) {
      const auto [part, place] = place_of(row.number(0));
      bits[part][place / 64] |= std::uint64_t{1} << (place % 64);
    }
    return bits;
  }
  // The part and row of a picture's vectors.
  std::pair<std::size_t, std::size_t> place_of(std::int64_t picture) const {
    for (std::size_t part = 0; part < files.size(); ++part) {
      if (picture > files[part]->numbers().back()) continue;
      const auto row = files[part]->row_of(picture);
      if (row && generation.parts[part].is_alive(*row)) return {part, *row};
      break;
    }
    fail_without(picture);
  }
  [[noreturn]] void fail_without(std::int64_t picture) const {
    throw Error(fmt::format("there is no picture {} in generation {}", picture, generation.number),
                folder.string());
  }
};

PictureIndex::PictureIndex(std::unique_ptr<State> state) : state_(std::move(state)) {}
PictureIndex::~PictureIndex() = default;

std::shared_ptr<const PictureIndex> PictureIndex::open(const std::filesystem::path& folder) {
  std::int64_t last = -1;
  for (int i = 0; i < kTries; ++i) {
    auto state = std::make_unique<State>();
    state->folder = folder;
    state->database = open_for_reading(folder);
    state->generation = read_generation(*state->database);
    auto files = open_files(folder, state->generation);
    if (files) {
      state->files = std::move(*files);
      return std::shared_ptr<const PictureIndex>(new PictureIndex(std::move(state)));
    }
    if (std::exchange(last, state->generation.number) == state->generation.number) break;
  }
  throw Error(fmt::format("a file of vectors of generation {} is missing", last), folder.string(),
              "--rebuild makes the index again");
}

bool PictureIndex::is_outdated() const {
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  if (!state.other) {
    state.other = std::make_unique<SqliteDatabase>(state.folder / kDatabaseName,
                                                   SqliteDatabase::Access::kRead);
  }
  SqliteDatabase& other = *state.other;
  if (other.in_transaction()) other.run("ROLLBACK");  // an error has left it
  other.run("BEGIN");
  const bool same = generation_number(other) == state.generation.number;
  // The newer transaction sees the same, and stands less in the way of the log's end: what the log
  // had for it may be in the database by now.
  if (same) std::swap(state.database, state.other);
  state.other->run("ROLLBACK");
  return !same;
}

const IndexIdentity& PictureIndex::identity() const {
  return state_->generation.identity;
}
std::int64_t PictureIndex::generation() const {
  return state_->generation.number;
}
std::int64_t PictureIndex::pictures() const {
  return state_->generation.pictures;
}
std::int64_t PictureIndex::files() const {
  return state_->generation.files;
}
std::int64_t PictureIndex::bad_files() const {
  return state_->generation.bad_files;
}

float PictureIndex::largest_error() const {
  float largest = 0;
  for (const IndexPart& part : state_->generation.parts) {
    largest = std::max(largest, part.largest_error);
  }
  return largest;
}

std::vector<CodePart> PictureIndex::parts() const {
  std::vector<CodePart> parts;
  for (std::size_t i = 0; i < state_->files.size(); ++i) {
    const VectorFile& file = *state_->files[i];
    parts.push_back({state_->generation.basis.get(), file.heads(), file.bodies(),
                     state_->generation.parts[i].alive});
  }
  return parts;
}

std::vector<CodePart> PictureIndex::parts(const WantedBits& wanted) const {
  std::vector<CodePart> all = parts();
  need(wanted.size() == all.size(),
       fmt::format("expected bits for {} parts, got {}", all.size(), wanted.size()),
       "pictures that are wanted");
  for (std::size_t i = 0; i < all.size(); ++i) {
    need(wanted[i].size() == all[i].wanted.size(),
         fmt::format("expected {} words of bits for part {}, got {}", all[i].wanted.size(), i,
                     wanted[i].size()),
         "pictures that are wanted");
    all[i].wanted = wanted[i];
  }
  return all;
}

WantedBits PictureIndex::wanted_by(const PictureFilter& filter) const {
  if (filter.passes_all()) return state_->alive();
  const std::lock_guard lock(state_->mutex);
  auto& known = state_->filtered;
  const auto found = std::ranges::find(known, filter, &std::pair<PictureFilter, WantedBits>::first);
  if (found != known.end()) {
    std::rotate(known.begin(), found, found + 1);
    return known.front().second;
  }
  known.emplace(known.begin(), filter, state_->matching(filter));
  if (known.size() > kKeptFilters) known.pop_back();
  return known.front().second;
}

std::int64_t PictureIndex::picture_at(std::size_t part, std::size_t row) const {
  need(part < state_->files.size() && row < state_->files[part]->rows(),
       fmt::format("there is no row {} of part {}", row, part), state_->folder.string());
  return state_->files[part]->numbers()[row];
}

std::optional<std::int64_t> PictureIndex::picture_of(const ContentHash& content) const {
  const std::lock_guard lock(state_->mutex);
  return find_picture(*state_->database, content);
}

PictureFacts PictureIndex::facts(std::int64_t picture) const {
  const std::lock_guard lock(state_->mutex);
  const auto facts = find_facts(*state_->database, picture);
  if (!facts) state_->fail_without(picture);
  return *facts;
}

std::vector<FileFacts> PictureIndex::files_of(std::int64_t picture) const {
  const std::lock_guard lock(state_->mutex);
  return files_of_picture(*state_->database, picture);
}

std::vector<float> PictureIndex::vectors_of(std::int64_t picture) const {
  const auto [part, row] = state_->place_of(picture);
  return decode(*state_->generation.basis, state_->files[part]->body(row));
}

std::vector<FileFacts> PictureIndex::list_files(bool bad, std::int64_t first,
                                                std::int64_t most) const {
  const std::lock_guard lock(state_->mutex);
  return page_of_files(*state_->database, bad, first, most);
}

std::optional<std::string> PictureIndex::value(const std::string& key) const {
  const std::lock_guard lock(state_->mutex);
  SqlStatement row = state_->database->query("SELECT text FROM texts WHERE key = ?", key);
  if (!row.next()) return std::nullopt;
  return row.text(0);
}

std::map<std::string, std::string> PictureIndex::values() const {
  const std::lock_guard lock(state_->mutex);
  SqlStatement row = state_->database->query("SELECT key, text FROM texts");
  std::map<std::string, std::string> values;
  while (row.next()) values.emplace(row.text(0), row.text(1));
  return values;
}

std::string PictureIndex::id() const {
  return value(kIdKey).value();
}

}  // namespace blip2
