#include "blip2/evaluation/meteor_paraphrases_internal.h"

#include <algorithm>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/io/gzip.h"

namespace blip2 {
namespace {

using Lookup = std::unordered_map<std::string_view, std::uint32_t>;

// Reads a phrase's words as numbers; false if one of them is not known.
bool read_phrase(std::string_view line, const Lookup& words, std::vector<std::uint32_t>& out) {
  out.clear();
  for (std::size_t at = 0; (at = line.find_first_not_of(" \t\r", at)) != line.npos;) {
    const std::size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    const auto found = words.find(line.substr(at, end - at));
    if (found == words.end()) return false;
    out.push_back(found->second);
    at = end;
  }
  return true;
}

}  // namespace

MeteorParaphrases::MeteorParaphrases(const std::filesystem::path& path, const WordNumbers& words) {
  const Lookup lookup(words.begin(), words.end());
  std::vector<std::uint32_t> phrase, other;
  std::size_t lines = 0;
  bool known = false;
  each_gzip_line(path, [&](std::string_view line) {
    const std::size_t of_entry = lines++ % 3;
    if (of_entry == 1) known = read_phrase(line, lookup, phrase);
    if (of_entry == 2 && known && read_phrase(line, lookup, other)) add(phrase, other);
  });
  if (lines == 0 || lines % 3 != 0) {
    throw Error("expected three lines for each pair of phrases, got " + std::to_string(lines),
                path.string());
  }
}

void MeteorParaphrases::add(std::span<const std::uint32_t> phrase,
                            std::span<const std::uint32_t> other) {
  std::uint32_t node = 0;
  for (const std::uint32_t word : phrase) {
    const auto fresh = static_cast<std::uint32_t>(phrases_at_.size());
    const auto [next, is_new] = next_.try_emplace(std::uint64_t{node} << 32 | word, fresh);
    if (is_new) phrases_at_.emplace_back();
    node = next->second;
  }
  phrases_at_[node].push_back(static_cast<std::uint32_t>(ends_.size()));
  phrases_.insert(phrases_.end(), other.begin(), other.end());
  ends_.push_back(phrases_.size());
}

}  // namespace blip2
