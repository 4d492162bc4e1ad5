#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/search/codes.h"
#include "blip2/search/picture_facts.h"
#include "blip2/search/scan.h"

namespace blip2 {

// What an index is bound to.
struct IndexIdentity {
  std::string model_hash;    // of the model's weights and preprocessing, in hex
  std::string model_folder;  // where the model was, for verbs that are not told another
  VectorShape shape;
};

// Bits that say which pictures of each part of an index are wanted.
using WantedBits = std::vector<std::vector<std::uint64_t>>;

// One generation of an index, for reading: a folder with a database of facts
// (SQLite) and files of vectors that never change once they are written. What is read stays that
// generation's, whatever is written meanwhile. Const functions may run on several threads at once.
class PictureIndex {
 public:
  // The current generation. Error if the folder is no index, is of another version, or damaged.
  static std::shared_ptr<const PictureIndex> open(const std::filesystem::path& folder);
  ~PictureIndex();
  PictureIndex(const PictureIndex&) = delete;
  PictureIndex& operator=(const PictureIndex&) = delete;

  // Whether a later generation has been written. Cheap: for servers, which then open() again.
  bool is_outdated() const;

  const IndexIdentity& identity() const;
  // Digits that tell the index from all others: drawn when it was made, and kept when it is rebuilt
  // or moved.
  std::string id() const;
  std::int64_t generation() const;
  std::int64_t pictures() const;  // different contents that a file has
  std::int64_t files() const;     // good ones
  std::int64_t bad_files() const;
  float largest_error() const;  // of any cosine, by vectors kept in eight bits

  // The vectors of the generation's pictures; `wanted` has those that pass a filter, as
  // wanted_by() gives them, or without it all of the generation. The spans live as long as this
  // object (and as `wanted`).
  std::vector<CodePart> parts() const;
  std::vector<CodePart> parts(const WantedBits& wanted) const;
  WantedBits wanted_by(const PictureFilter& filter) const;

  // The number of the picture at a place, and back; numbers are never used twice.
  std::int64_t picture_at(std::size_t part, std::size_t row) const;
  std::optional<std::int64_t> picture_of(const ContentHash& content) const;
  PictureFacts facts(std::int64_t picture) const;
  std::vector<FileFacts> files_of(std::int64_t picture) const;  // sorted by path
  std::vector<float> vectors_of(std::int64_t picture) const;    // [Q, E]

  // All good files or all bad ones, sorted by path, from `first` on and at most `most`.
  std::vector<FileFacts> list_files(bool bad, std::int64_t first, std::int64_t most) const;

  // Texts that a writer has put beside the pictures, such as thresholds; nullopt if there is none.
  std::optional<std::string> value(const std::string& key) const;
  std::map<std::string, std::string> values() const;

 private:
  struct State;
  explicit PictureIndex(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Writes generations of an index, one writer at a time. Nothing is seen by readers before commit();
// a writer that ends without it, or is killed anywhere, leaves the last generation as it is. For
// one thread at a time.
class IndexWriter {
 public:
  // Opens the index or makes the folder. Error if another process writes it, if it is bound to
  // another model than `identity` (hint: --rebuild), or if the folder holds other files. With
  // `rebuild` the first commit() replaces all that is there.
  IndexWriter(const std::filesystem::path& folder, const IndexIdentity& identity,
              bool rebuild = false);
  ~IndexWriter();
  IndexWriter(const IndexWriter&) = delete;
  IndexWriter& operator=(const IndexWriter&) = delete;

  // All files by path, with what has been put and removed since the last commit().
  std::map<std::string, FileFacts> files() const;
  std::optional<std::int64_t> find_picture(const ContentHash& content) const;

  // Adds a picture with its unit vectors [Q, E]; its number. A picture of this content that is
  // there already stays, with its number.
  std::int64_t add_picture(const PictureFacts& facts, std::span<const float> vectors);
  void set_caption(std::int64_t picture, const std::string& caption);
  // Adds a file or changes what is known of it. Error if it names a picture that is not there.
  void put_file(const FileFacts& file);
  void remove_file(const std::string& path);
  void set_value(const std::string& key, const std::string& text);

  // Makes a generation of all that was done since the last one; its number. Pictures that no file
  // has any more are dropped. Small files of vectors are merged now and then. Error if the disk is
  // full; then the last generation stays.
  std::int64_t commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace blip2
