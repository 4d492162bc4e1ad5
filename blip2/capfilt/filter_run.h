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
  bool tar = false;              // shards with the pictures; otherwise JSONL that names them
  std::size_t shard_size = 1000, batch_size = 8;  // pictures
  std::size_t process = 0, processes = 1;  // this one does shards s with s % processes == process
  bool resume = false;                     // keep the shards that are finished
  double bad_share = 0.01;                 // of all pictures, before the run stops
};

// What became of this process's pictures, those of earlier runs that it kept included.
struct FilterRunResult {
  std::size_t shards = 0, pictures = 0, bad = 0;
  std::size_t captioned = 0;  // pictures with a caption left
  std::size_t generated = 0, kept = 0, originals = 0, originals_kept = 0;  // captions
};

// Captions and filters the pictures of a data source, shard by shard (docs/capfilt.md). A picture
// is taken once, with the captions of all its records. A shard's files appear complete or not at
// all, and are a function of the settings and the shard's number: not of processes or
// interruptions. Error if the folder holds something else or a run with other settings, or more
// pictures are bad than is borne; Interrupted after a signal. Finished shards stay in both cases.
FilterRunResult run_caption_filter(const FilterRunOptions& options);

}  // namespace blip2
