#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "blip2/indexing/index_update.h"
#include "blip2/indexing/picture_rounds.h"
#include "blip2/indexing/update_plan.h"
#include "blip2/search/picture_index.h"

namespace blip2 {

// Pictures after which a generation is written: what a process that is killed may lose.
inline constexpr std::int64_t kPicturesOfACommit = 512;

// The main process's side of an update: what the index has, and what becomes of each file.
class IndexLedger {
 public:
  // `captions`: those of the index that a rebuilt one replaces, by content.
  IndexLedger(const std::string& folder, const IndexIdentity& identity, bool rebuild,
              std::map<ContentHash, std::string> captions);

  const KnownFiles& files() const { return files_; }
  // Sets a value of the index that the next commit() writes, if it is another one.
  void set_value(const std::string& key, const std::string& text,
                 const std::optional<std::string>& present);

  // Begins an update.
  void begin(std::int64_t unchanged);
  // Whether a content has to be encoded: it is neither in the index nor being encoded.
  bool wants(const ContentHash& content);
  // Puts files into the index that have been read. Commits now and then.
  void take(std::vector<ReadPicture> pictures);
  // Files to read again, as the content that they share with others has left the index meanwhile.
  std::vector<std::string> take_deferred();
  // Removes files, and counts those as changed whose picture has moved.
  void remove(const std::vector<std::string>& paths);
  void set_caption(std::int64_t picture, const std::string& caption);
  // Writes a generation if there is anything new.
  void commit();
  IndexCounts counts() const;

 private:
  void put(const ReadPicture& read, std::int64_t picture);
  void put_bad(const ReadPicture& read);
  void commit_if_due(std::int64_t new_pictures);

  std::map<ContentHash, std::string> captions_;
  IndexWriter writer_;
  KnownFiles files_;
  IndexCounts counts_;
  std::set<ContentHash> claimed_;                // encoded in this update, or soon
  std::map<ContentHash, std::string> problems_;  // of contents that cannot be decoded
  std::vector<std::string> deferred_;
  std::multimap<std::int64_t, std::string> added_;  // files that are new, by their picture
  std::int64_t uncommitted_ = 0;                    // pictures
  bool dirty_ = false;
  std::chrono::steady_clock::time_point committed_ = std::chrono::steady_clock::now();
};

}  // namespace blip2
