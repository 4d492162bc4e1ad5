#include "blip2/text/charsmap.h"

#include <algorithm>
#include <cstring>

#include "blip2/base/error.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

// Darts-clone's packing of a unit.
std::uint32_t offset_of(std::uint32_t unit) {
  return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}
bool has_label(std::uint32_t unit, std::uint8_t byte) {
  return (unit & ((1u << 31) | 0xffu)) == byte;
}
bool has_leaf(std::uint32_t unit) {
  return (unit >> 8 & 1u) != 0;
}
std::uint32_t value_of(std::uint32_t unit) {
  return unit & ((1u << 31) - 1);
}

bool starts_character(std::string_view text, std::size_t at) {
  return at == text.size() || (static_cast<unsigned char>(text[at]) & 0xc0) != 0x80;
}

}  // namespace

void append_replacement(std::string& text, std::string_view replacement) {
  constexpr std::size_t kLongest = 256u << 20;
  if (text.size() + replacement.size() > kLongest) {
    throw Error("the tokenizer's replacements make more than 256 MiB of this text");
  }
  text.append(replacement);
}

Charsmap::Charsmap(std::string blob, const std::string& where) : blob_(std::move(blob)) {
  std::uint32_t bytes = 0;
  if (blob_.size() >= 4) std::memcpy(&bytes, blob_.data(), 4);
  if (bytes < 4 || bytes % 4 != 0 || bytes > blob_.size() - 4) {
    throw Error("precompiled_charsmap: expected a trie within " + std::to_string(blob_.size()) +
                    " bytes, got one of " + std::to_string(bytes),
                where);
  }
  units_.resize(bytes / 4);
  std::memcpy(units_.data(), blob_.data() + 4, bytes);
  replacements_ = std::string_view(blob_).substr(4 + bytes);
  if (to_valid_utf8(replacements_) != replacements_) {
    throw Error("precompiled_charsmap: the replacements are not UTF-8", where);
  }
  check(where);
}

// Every node that any text can reach, each once.
void Charsmap::check(const std::string& where) const {
  const auto wrong = [&](const char* what, std::size_t at) {
    throw Error("precompiled_charsmap: unit " + std::to_string(at) + " leads out of the " + what,
                where);
  };
  std::vector<bool> seen(units_.size());
  std::vector<std::size_t> nodes;
  const auto enter = [&](std::size_t from, std::size_t node) {
    if (node >= units_.size()) wrong("trie", from);
    if (!seen[node]) nodes.push_back(node);
    seen[node] = true;
  };
  enter(0, offset_of(units_[0]));
  while (!nodes.empty()) {
    const std::size_t node = nodes.back();
    nodes.pop_back();
    for (std::size_t byte = 1; byte < 256; ++byte) {
      const std::size_t child = node ^ byte;
      // A beginning that ends at the array's end is no entry.
      if (child >= units_.size() || !has_label(units_[child], static_cast<std::uint8_t>(byte))) {
        continue;
      }
      const std::size_t next = child ^ offset_of(units_[child]);
      enter(child, next);
      if (!has_leaf(units_[child])) continue;
      const std::size_t value = value_of(units_[next]);
      if (value > replacements_.size() || !starts_character(replacements_, value)) {
        wrong("replacements", next);
      }
    }
  }
}

std::string_view Charsmap::find(std::string_view text) const {
  std::size_t node = offset_of(units_[0]);
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    node ^= byte;
    if (byte == 0 || node >= units_.size() || !has_label(units_[node], byte)) return {};
    const std::uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (has_leaf(unit)) {
      const std::string_view rest = replacements_.substr(value_of(units_[node]));
      return rest.substr(0, std::min(rest.find('\0'), rest.size()));
    }
  }
  return {};
}

std::string Charsmap::normalize(std::string_view text) const {
  constexpr std::size_t kWholeBelow = 6;  // bytes
  std::string out;
  while (!text.empty()) {
    std::string_view grapheme = text.substr(0, first_grapheme(text));
    text.remove_prefix(grapheme.size());
    if (grapheme.size() < kWholeBelow) {
      if (const auto found = find(grapheme); found.data()) {
        append_replacement(out, found);
        continue;
      }
    }
    while (!grapheme.empty()) {
      const std::string_view character = grapheme.substr(0, decode_utf8(grapheme).bytes);
      const auto found = find(character);
      append_replacement(out, found.data() ? found : character);
      grapheme.remove_prefix(character.size());
    }
  }
  return out;
}

}  // namespace blip2
