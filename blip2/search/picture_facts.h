#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "blip2/base/content_hash.h"

namespace blip2 {

// What an index knows of a picture's content, however many files have it.
struct PictureFacts {
  ContentHash content;
  std::int64_t width = 0, height = 0;  // as shown, after the EXIF orientation
  std::optional<std::int64_t> taken;   // EXIF's date and time as written, in seconds since 1970
  std::string camera;                  // EXIF's maker and model; may be empty
  std::string caption;                 // may be empty
  std::string look = {};               // of image/look.h; may be empty
};

// A file of an index's folders.
struct FileFacts {
  std::string path;  // absolute, with symbolic links resolved in its folder
  std::uint64_t bytes = 0;
  std::int64_t modified = 0;            // nanoseconds since 1970
  std::optional<std::int64_t> picture;  // the number of its picture; nullopt: it is a bad one
  std::string problem;                  // why it cannot be read, if it is bad
};

// Filters on pictures; fields that are not set let everything pass.
struct PictureFilter {
  std::string folder;  // below this absolute folder
  std::optional<std::int64_t> after,
      before;                            // seconds since 1970: of EXIF's date, else of the file
  std::optional<std::int64_t> min_side;  // of the shorter side, in pixels
  std::string camera;                    // part of its name, whatever the case

  bool passes_all() const { return *this == PictureFilter{}; }
  bool operator==(const PictureFilter&) const = default;
};

}  // namespace blip2
