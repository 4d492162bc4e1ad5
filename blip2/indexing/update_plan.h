#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "blip2/indexing/picture_walk.h"
#include "blip2/search/picture_facts.h"

namespace blip2 {

using KnownFiles = std::map<std::string, FileFacts>;  // by path

// A lost place, and how many good files an index has at or below it.
struct LostFiles {
  LostPlace place;
  std::int64_t files = 0;
};

// What has to be done so that an index has what the folders have.
struct UpdatePlan {
  std::vector<std::string> read;  // new files and changed ones, sorted
  std::vector<std::string> gone;  // known files that are not there any more, sorted
  std::vector<LostFiles> lost;
  std::int64_t unchanged = 0;  // good files
  std::int64_t young = 0;      // files that have been changed just now, left for a later update
};

struct PlanOptions {
  // Whether files of places that are missing or empty are gone; of unreadable ones they never are.
  bool remove_missing = false;
  // Nanoseconds since 1970: files modified between this and `now` are young; nullopt: none is.
  std::optional<std::int64_t> young_since = std::nullopt;
  std::int64_t now = 0;
};

// Compares what an index knows with what a walk has found. A file is unchanged if it has the same
// number of bytes and the same modified time; one that could not even be opened is always read
// again. Pure.
UpdatePlan plan_update(const KnownFiles& known, const PictureWalk& walk,
                       const PlanOptions& options);

// The paths with `count` of them, from all over the list, in front; both parts stay sorted. An
// index fits the bytes of its vectors to the first pictures that it gets, which should be like the
// others.
std::vector<std::string> with_sample_first(std::vector<std::string> paths, std::size_t count);

// The facts of a file that could not be opened: bytes and modified time of no file.
FileFacts unopened_file(const std::string& path, const std::string& problem);

}  // namespace blip2
