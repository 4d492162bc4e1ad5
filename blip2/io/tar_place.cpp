#include "blip2/io/tar_place.h"

#include <fmt/format.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/io/random_file.h"
#include "blip2/io/tar_header.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr std::string_view kPrefix = "tar:", kBetween = "//";

// Fit for messages and JSON: names that are not UTF-8 or hold control characters lose them.
std::string label(const std::string& name) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  const bool clean = is_utf8(name) && std::none_of(name.begin(), name.end(), is_control);
  return clean ? name : printable(name, name.size());
}

}  // namespace

std::string TarPlace::to_text() const {
  return fmt::format("{}{}+{}:{}{}{}", kPrefix, offset, size, archive.string(), kBetween,
                     label(member));
}

std::optional<TarPlace> TarPlace::parse(std::string_view text) {
  if (!text.starts_with(kPrefix)) return {};
  text.remove_prefix(kPrefix.size());
  const std::size_t plus = text.find('+');
  const std::size_t colon = text.find(':');
  const std::size_t between = text.find(kBetween);
  if (plus == text.npos || colon == text.npos || between == text.npos) return {};
  if (plus > colon || colon > between) return {};
  const auto offset = parse_decimal(text.substr(0, plus));
  const auto size = parse_decimal(text.substr(plus + 1, colon - plus - 1));
  if (!offset || !size) return {};
  return TarPlace{std::string(text.substr(colon + 1, between - colon - 1)),
                  std::string(text.substr(between + kBetween.size())), *offset, *size};
}

std::string read_source(const std::string& source, std::uint64_t max_bytes) {
  const auto place = TarPlace::parse(source);
  if (!place) return read_file(source, max_bytes);
  if (place->size > max_bytes) {
    throw Error(fmt::format("expected at most {} bytes, got {}", max_bytes, place->size), source);
  }
  return RandomFile(place->archive).read(place->offset, place->size);
}

}  // namespace blip2
