#include "blip2/io/picture_format.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace blip2 {
namespace {

using namespace std::string_view_literals;

constexpr std::array kKinds = {
    PictureKind{PictureFormat::jpeg, "JPEG", "jpg", "image/jpeg", true},
    PictureKind{PictureFormat::png, "PNG", "png", "image/png", true},
    PictureKind{PictureFormat::webp, "WebP", "webp", "image/webp", true},
    PictureKind{PictureFormat::gif, "GIF", "gif", "image/gif", true},
    PictureKind{PictureFormat::bmp, "BMP", "bmp", "image/bmp", true},
    PictureKind{PictureFormat::tiff, "TIFF", "tif", "image/tiff", false},
    PictureKind{PictureFormat::avif, "AVIF", "avif", "image/avif", true},
    PictureKind{PictureFormat::heic, "HEIC", "heic", "image/heic", false},
};

constexpr std::array kExtensions = {"jpg"sv, "jpeg"sv, "png"sv,  "webp"sv, "gif"sv, "bmp"sv,
                                    "tif"sv, "tiff"sv, "avif"sv, "heic"sv, "heif"sv};

// Of a file of the ISO kind: a box "ftyp" with the main brand, a version and the other brands.
std::optional<PictureFormat> format_of_brand(std::string_view brand) {
  constexpr std::array kHeic = {"heic"sv, "heix"sv, "heim"sv, "heis"sv,
                                "hevc"sv, "hevx"sv, "hevm"sv, "hevs"sv};
  if (brand == "avif" || brand == "avis") return PictureFormat::avif;
  if (std::find(kHeic.begin(), kHeic.end(), brand) != kHeic.end()) return PictureFormat::heic;
  return std::nullopt;
}

std::optional<PictureFormat> format_of_brands(std::string_view bytes) {
  if (bytes.size() < 12 || bytes.substr(4, 4) != "ftyp") return std::nullopt;
  const std::string_view main = bytes.substr(8, 4);
  if (const auto format = format_of_brand(main)) return format;
  if (main != "mif1" && main != "msf1" && main != "miaf") return std::nullopt;
  std::uint32_t size = 0;
  for (int i = 0; i < 4; ++i) size = size << 8 | static_cast<std::uint8_t>(bytes[i]);
  constexpr std::size_t kSeen = 4096;
  const std::size_t end = std::min({std::size_t{size}, bytes.size(), kSeen});
  std::optional<PictureFormat> found;
  for (std::size_t at = 16; at + 4 <= end; at += 4) {
    const auto format = format_of_brand(bytes.substr(at, 4));
    if (format == PictureFormat::avif) return format;
    if (format) found = format;
  }
  return found;
}

std::string listed(std::vector<std::string> words) {
  const std::string last = std::move(words.back());
  words.pop_back();
  return fmt::format("{} or {}", fmt::join(words, ", "), last);
}

}  // namespace

std::span<const PictureKind> picture_kinds() {
  return kKinds;
}

const PictureKind& picture_kind(PictureFormat format) {
  return kKinds.at(static_cast<std::size_t>(format));
}

std::optional<PictureFormat> picture_format(std::string_view bytes) {
  if (bytes.starts_with("\xff\xd8\xff"sv)) return PictureFormat::jpeg;
  if (bytes.starts_with("\x89PNG\r\n\x1a\n"sv)) return PictureFormat::png;
  if (bytes.starts_with("RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") {
    return PictureFormat::webp;
  }
  if (bytes.starts_with("GIF87a") || bytes.starts_with("GIF89a")) return PictureFormat::gif;
  if (bytes.starts_with("BM")) return PictureFormat::bmp;
  for (const std::string_view magic : {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv}) {
    if (bytes.starts_with(magic)) return PictureFormat::tiff;
  }
  return format_of_brands(bytes);
}

std::string picture_names() {
  std::vector<std::string> names;
  for (const PictureKind& kind : kKinds) names.emplace_back(kind.name);
  return listed(std::move(names));
}

bool is_picture_extension(std::string_view extension) {
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

std::string picture_extensions() {
  std::vector<std::string> names;
  for (const std::string_view extension : kExtensions)
    names.push_back(fmt::format(".{}", extension));
  return listed(std::move(names));
}

}  // namespace blip2
