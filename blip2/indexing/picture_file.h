#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>

#include "blip2/base/content_hash.h"
#include "blip2/image/photograph.h"
#include "blip2/image/transform.h"
#include "blip2/search/picture_facts.h"

namespace blip2 {

// A file of a folder on its way into an index: read_content() fills in what the file is,
// decode_content() what the encoder needs of it. Files of their own may be read on several threads.
struct PictureFile {
  std::string path;

  FileFacts facts;    // `picture` is not set
  bool gone = false;  // it was there, and is not any more
  std::string content;
  ContentHash hash;

  std::int64_t width = 0, height = 0;  // upright
  CameraNotes notes;
  std::string look;
  at::Tensor pixels;  // [3, H, W] f32, as the encoder reads them

  bool is_bad() const { return !facts.problem.empty(); }
};

// Reads the file's bytes, with the facts of exactly these bytes: where the file may have been
// changed meanwhile, or may change once more without another modified time, the time is set one
// nanosecond back, so that the next update reads it again. What cannot be read is bad.
void read_content(PictureFile& file);

// Decodes the bytes and lets them go. What cannot be decoded is bad.
void decode_content(PictureFile& file, const Preprocessing& preprocessing);

}  // namespace blip2
