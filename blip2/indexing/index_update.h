#pragma once

#include <torch/torch.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "blip2/image/transform.h"
#include "blip2/processes/ranks.h"

namespace blip2 {

struct IndexOptions {
  std::string index;                 // the index's folder
  std::vector<std::string> folders;  // to follow, beside those that the index follows already
  std::vector<std::string> forget;   // no longer to follow
  std::string model;                 // its directory; "": where the index says that it was
  std::string precision = "auto";    // as RetrievalModel's, and so are these two
  at::ScalarType bridge = at::kFloat;
  PictureChoices pictures;
  bool rebuild = false;         // begin again, whatever is there
  bool remove_missing = false;  // also files whose folder is missing altogether
  bool captions = false;        // write captions of pictures that have none
  // Above 0: files that were modified less than this ago are left for the next update.
  std::chrono::milliseconds settle{0};
};

// What an update has done, in files; moved files count as changed.
struct IndexCounts {
  std::int64_t added = 0, changed = 0, removed = 0;
  std::int64_t kept = 0;      // good files with the content that they had
  std::int64_t bad = 0;       // files of the index that cannot be read as pictures
  std::int64_t pictures = 0;  // different contents in the index
  std::int64_t encoded = 0;   // pictures that the model has encoded
  std::int64_t captioned = 0;

  bool none_changed() const { return added + changed + removed + encoded + captioned == 0; }
};

// Keeps an index of pictures as its folders are. All processes call it together; the main process
// alone reads the folders and writes the index, and all share the reading and encoding of pictures.
// What has been encoded is committed every few hundred pictures and every few seconds, so that
// little is lost however the process ends. For one thread at a time.
class IndexUpdater {
 public:
  // Opens or makes the index. Error if a folder that was never followed is not there or is none, if
  // the index is bound to another model (hint: --rebuild), or if it cannot be written. `ranks`:
  // nullptr for a process alone.
  IndexUpdater(IndexOptions options, const Ranks* ranks);
  ~IndexUpdater();
  IndexUpdater(const IndexUpdater&) = delete;
  IndexUpdater& operator=(const IndexUpdater&) = delete;

  // Walks over the folders and brings the index up to date. Names on standard error what is bad or
  // lost, once. The counts are those of the main process. Throws Interrupted after a signal, when
  // it has committed what was done.
  IndexCounts update();

  // Of the last update, at the main process: the folders that were read, how many files it left for
  // the next one, and whether a folder that the index follows is missing.
  const std::vector<std::string>& read_folders() const;
  std::int64_t young_files() const;
  bool misses_folders() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace blip2
