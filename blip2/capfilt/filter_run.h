#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "blip2/capfilt/caption_filter.h"
#include "blip2/data/records.h"

namespace blip2 {

struct FilterRunOptions {
  CaptionFilterOptions filter;
  std::string data;              // a data source, see read_records()
  std::filesystem::path output;  // folder of the shards
  bool tar = false;  // tar shards that hold the pictures; otherwise JSONL that names them
  std::size_t shard_size = 1000, batch_size = 8;  // pictures in each
  std::size_t process = 0, processes = 1;  // this process does shards with s % processes == process
  bool resume = false;                     // keep the shards that are finished
  double bad_share = 0.01;                 // largest share of bad pictures before the run stops
};

// Counts over this process's shards, those included that an earlier run finished and this one kept.
struct FilterRunResult {
  std::size_t shards = 0, pictures = 0, bad = 0;
  std::size_t captioned = 0;  // pictures that have a caption left
  std::size_t generated = 0, kept = 0, originals = 0, originals_kept = 0;  // captions
};

// Captions and filters the pictures of a data source, shard by shard (docs/capfilt.md). Each
// picture is taken once, with the captions of all its records. A shard's files appear complete or
// not at all, and depend on the settings and the shard's number alone: not on processes or
// interruptions. Error if the folder holds something else or a run with other settings, or if more
// pictures are bad than bad_share allows; Interrupted after a signal. Finished shards stay in both
// cases.
FilterRunResult run_caption_filter(const FilterRunOptions& options);

}  // namespace blip2
