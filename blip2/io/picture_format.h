#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace blip2 {

enum class PictureFormat { jpeg, png, webp, gif, bmp, tiff, avif, heic };

// A format of pictures that is read. This list is the only one: decoding, requests, folders, tar
// shards, reports and all messages go by it.
struct PictureKind {
  PictureFormat format;
  std::string_view name;        // in messages: "JPEG"
  std::string_view extension;   // of a file that is written, without dot: "jpg"
  std::string_view media_type;  // "image/jpeg"
  bool in_browsers;             // whether every common browser shows it
};

// All of them, in the order of PictureFormat.
std::span<const PictureKind> picture_kinds();

const PictureKind& picture_kind(PictureFormat format);

// The format by the first bytes of a file, as its decoder sees it; nullopt if it is none of them.
// Pure; reads the first 4 KiB.
std::optional<PictureFormat> picture_format(std::string_view bytes);

// "JPEG, PNG, ... or HEIC".
std::string picture_names();

// Whether files of that extension (lower case, without dot) are taken for pictures.
bool is_picture_extension(std::string_view extension);

// ".jpg, .jpeg, ... or .heif": what is_picture_extension takes.
std::string picture_extensions();

}  // namespace blip2
