#include "blip2/image/photograph.h"

#include <chrono>
#include <string_view>

#include "blip2/image/codecs_internal.h"
#include "blip2/image/orientation_internal.h"
#include "blip2/image/tiff_internal.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr std::size_t kMostName = 100;  // bytes of a maker or model that are read

// The text of an entry up to its first zero byte; "" if it is no text.
std::string_view text_of(const Tiff& tiff, std::uint64_t directory, std::uint32_t tag) {
  const auto entry = tiff.find(directory, tag);
  if (!entry || entry->type != kTiffAscii) return {};
  const auto bytes = tiff.value(*entry);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return text.substr(0, text.find('\0'));
}

// Latin-1 as UTF-8.
std::string widen(std::string_view text) {
  std::string wide;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) wide += static_cast<char>(0xc0 | byte >> 6);
    wide += static_cast<char>(byte >= 0x80 ? 0x80 | (byte & 0x3f) : byte);
  }
  return wide;
}

// A name on one line with single spaces, in UTF-8: as written, or else from Latin-1, which is how
// Pillow reads all of them.
std::string name_of(std::string_view text) {
  text = text.substr(0, kMostName);
  std::string name;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool space = byte <= ' ' || byte == 0x7f;
    if (!space) name += c;
    if (space && !name.empty() && name.back() != ' ') name += ' ';
  }
  if (!name.empty() && name.back() == ' ') name.pop_back();
  return is_utf8(name) ? name : widen(name);
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Whether the model begins with the first word of the maker, whatever the case.
bool names_maker(std::string_view model, std::string_view maker) {
  const std::string_view word = maker.substr(0, maker.find(' '));
  if (model.size() < word.size()) return false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (lower(model[i]) != lower(word[i])) return false;
  }
  return model.size() == word.size() || model[word.size()] == ' ' || model[word.size()] == '-';
}

std::string camera_of(const std::string& maker, const std::string& model) {
  if (maker.empty() || names_maker(model, maker)) return model;
  return model.empty() ? maker : maker + " " + model;
}

// A number of `count` digits at `begin`; -1 if there are other characters.
int digits_at(std::string_view text, std::size_t begin, std::size_t count) {
  int value = 0;
  for (const char c : text.substr(begin, count)) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

// Seconds since 1970 of "YYYY:MM:DD hh:mm:ss"; some programs write other marks between.
std::optional<std::int64_t> seconds_of(std::string_view text) {
  using namespace std::chrono;
  constexpr std::size_t kLength = 19;
  if (text.size() < kLength) return std::nullopt;
  const int y = digits_at(text, 0, 4), m = digits_at(text, 5, 2), d = digits_at(text, 8, 2);
  const int hour = digits_at(text, 11, 2), minute = digits_at(text, 14, 2),
            second = digits_at(text, 17, 2);
  if (y < 1 || m < 0 || d < 0 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
      second > 59) {
    return std::nullopt;
  }
  const year_month_day day{year{y}, month{static_cast<unsigned>(m)},
                           std::chrono::day{static_cast<unsigned>(d)}};
  if (!day.ok()) return std::nullopt;
  return duration_cast<seconds>(sys_days{day}.time_since_epoch()).count() + hour * 3600 +
         minute * 60 + second;
}

// The directory of EXIF's own entries, to which the first one points; 0 if there is none.
std::uint64_t camera_directory(const Tiff& tiff) {
  constexpr std::uint32_t kPointer = 0x8769;
  const auto entry = tiff.find(tiff.first_directory(), kPointer);
  if (!entry || (entry->type != kTiffLong && entry->type != kTiffDirectory)) return 0;
  return tiff.u32(entry->at);
}

}  // namespace

CameraNotes read_camera_notes(std::span<const std::byte> exif) {
  constexpr std::uint32_t kMaker = 0x010f, kModel = 0x0110, kOriginal = 0x9003, kDigitised = 0x9004;
  const Tiff tiff(exif);
  if (!tiff.valid()) return {};
  const std::uint64_t first = tiff.first_directory(), own = camera_directory(tiff);
  CameraNotes notes;
  notes.camera =
      camera_of(name_of(text_of(tiff, first, kMaker)), name_of(text_of(tiff, first, kModel)));
  if (own == 0) return notes;
  notes.taken = seconds_of(text_of(tiff, own, kOriginal));
  if (!notes.taken) notes.taken = seconds_of(text_of(tiff, own, kDigitised));
  return notes;
}

Photograph decode_photograph(std::span<const std::byte> bytes, const std::string& where,
                             SixteenBit sixteen_bit, const ImageLimits& limits) {
  Decoded decoded = decode_stored(bytes, where, sixteen_bit, limits);
  CameraNotes notes = read_camera_notes(decoded.exif);
  return {upright(std::move(decoded.image), decoded.orientation), std::move(notes)};
}

}  // namespace blip2
