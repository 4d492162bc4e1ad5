#include "blip2/protocols/foreign_format_internal.h"

#include <algorithm>
#include <array>
#include <string>

namespace blip2 {
namespace {

using namespace std::string_view_literals;

struct Magic {
  std::size_t at;
  std::string_view bytes, name;
};

constexpr std::array kMagics = {
    Magic{4, "ftypmif1"sv, "a HEIF picture that is neither AVIF nor HEIC"},
    Magic{4, "ftypmsf1"sv, "a HEIF picture that is neither AVIF nor HEIC"},
    Magic{4, "ftyp"sv, "a video (MP4 or QuickTime)"},
    Magic{0, "\0\0\0\x0cjP"sv, "a JPEG 2000 picture"},
    Magic{0, "\xff\x4f\xff\x51"sv, "a JPEG 2000 picture"},
    Magic{0, "\0\0\0\x0cJXL"sv, "a JPEG XL picture"},
    Magic{0, "\xff\x0a"sv, "a JPEG XL picture"},
    Magic{0, "\0\0\1\0"sv, "an icon (ICO)"},
    Magic{0, "8BPS"sv, "a Photoshop file"},
    Magic{0, "%PDF"sv, "a PDF document"},
    Magic{0, "PK\3\4"sv, "a ZIP archive"},
    Magic{0, "\x1f\x8b"sv, "a gzip file"},
    Magic{0, "\x1a\x45\xdf\xa3"sv, "a video (Matroska or WebM)"},
    Magic{8, "AVI "sv, "a video (AVI)"},
    Magic{8, "WAVE"sv, "a sound (WAV)"},
    Magic{0, "OggS"sv, "a sound or video (Ogg)"},
    Magic{0, "ID3"sv, "a sound (MP3)"},
};

bool has(std::string_view bytes, const Magic& magic) {
  return bytes.size() >= magic.at && bytes.substr(magic.at).starts_with(magic.bytes);
}

}  // namespace

std::string_view foreign_format(std::string_view bytes) {
  for (const Magic& magic : kMagics) {
    if (has(bytes, magic)) return magic.name;
  }
  constexpr std::size_t kSeen = 1024;
  std::string start(bytes.substr(0, kSeen));
  std::transform(start.begin(), start.end(), start.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (start.find("<svg") != start.npos) return "an SVG drawing";
  if (start.find("<html") != start.npos || start.find("<!doctype html") != start.npos) {
    return "an HTML page";
  }
  return {};
}

}  // namespace blip2
