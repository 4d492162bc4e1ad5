#include "blip2/text/space_split.h"

#include <algorithm>

#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t start = 0, at = 0;
  while (at < text.size()) {
    const CodePoint c = decode_utf8(text.substr(at));
    if (is_whitespace(c.value)) {
      if (at > start) words.push_back(text.substr(start, at - start));
      start = at + c.bytes;
    }
    at += c.bytes;
  }
  if (at > start) words.push_back(text.substr(start));
  return words;
}

void add_metaspaced(const SpaceSplit& options, std::string_view text, bool prepends,
                    std::vector<std::string>& parts) {
  const std::string& mark = options.replacement;
  std::string marked;
  for (const char c : text) c == ' ' ? marked.append(mark) : marked.append(1, c);
  if (prepends && !marked.starts_with(mark)) marked.insert(0, mark);
  if (!options.split) return parts.push_back(std::move(marked));
  std::size_t start = 0;
  while (start < marked.size()) {
    const std::size_t next = std::min(marked.find(mark, start + 1), marked.size());
    parts.push_back(marked.substr(start, next - start));
    start = next;
  }
}

std::vector<std::string> cut_behind_spaces(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    const std::size_t end = space == std::string_view::npos ? text.size() : space + 1;
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return parts;
}

}  // namespace

std::vector<std::string> split_spaces(const SpaceSplit& options, std::string_view text,
                                      bool at_start) {
  if (options.behind_spaces) return cut_behind_spaces(text);
  const auto words =
      options.white_space ? words_of(text) : std::vector<std::string_view>(!text.empty(), text);
  std::vector<std::string> parts;
  for (const std::string_view word : words) {
    if (!options.metaspace) {
      parts.emplace_back(word);
      continue;
    }
    const bool first = at_start && word.data() == text.data();
    const bool prepends = options.prepend == SpaceSplit::Prepend::always ||
                          (options.prepend == SpaceSplit::Prepend::first && first);
    add_metaspaced(options, word, prepends, parts);
  }
  return parts;
}

}  // namespace blip2
