#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/postgres/remote_place.h"
#include "blip2/search/picture_facts.h"
#include "blip2/search/picture_index.h"
#include "blip2/search/scan.h"

namespace blip2 {

// A picture that was found, with all that is known of it.
struct RemoteHit {
  PictureFacts facts;
  std::vector<FileFacts> files;    // good ones of all indexes that have it, sorted by path
  float score = 0;                 // the sum over terms, of the same bytes as in the index itself
  std::vector<float> term_scores;  // of each term, before its weight
};

enum class RemoteWay {
  kCandidates,  // pgvector names those whose mean vectors are nearest, which are then scored in
                // full
  kExact,  // bounds of all pictures from their heads, then all bodies that can be among the best
};

// The copies of indexes in a schema of Postgres, for reading: what was whole when it was opened
// stays, whatever is written meanwhile (a transaction is open as long as this object lives). For
// one thread at a time. Every function may throw Error if the server goes away.
class RemoteIndex {
 public:
  // Error if there is no such server, no pgvector, no index, or no right to read it.
  explicit RemoteIndex(const RemotePlace& place);
  ~RemoteIndex();
  RemoteIndex(const RemoteIndex&) = delete;
  RemoteIndex& operator=(const RemoteIndex&) = delete;

  const std::string& place() const;  // "postgresql://server:port/database", for messages
  const IndexIdentity& identity() const;
  // Sums over the copied indexes; a content that several have counts as often.
  std::int64_t pictures() const;
  std::int64_t files() const;
  std::int64_t bad_files() const;
  float largest_error() const;  // of any cosine, by vectors kept in eight bits
  // A text that lies beside the pictures, of the index that has most of them.
  std::optional<std::string> value(const std::string& key) const;

  // The `top` pictures of the highest scores that pass the filter, best first; each content once.
  // The exact way gives what best_pictures() gives on the indexes themselves; it keeps all heads
  // in memory for the next call with the same filter. Candidates are 20 times as many as asked
  // for, from 200 to 1000. Error if a term has another shape than the pictures.
  std::vector<RemoteHit> search(std::span<const SearchTerm> terms, std::size_t top,
                                const PictureFilter& filter, RemoteWay way, std::size_t threads);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace blip2
