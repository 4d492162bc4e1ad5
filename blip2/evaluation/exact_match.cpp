#include "blip2/evaluation/exact_match.h"

#include <algorithm>
#include <string_view>

namespace blip2 {
namespace {

bool is_gap(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

char ascii_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

std::string fold_text(const std::string& text) {
  std::string folded;
  bool space = false;
  for (const char c : text) {
    if (is_gap(c)) {
      space = !folded.empty();
      continue;
    }
    if (space) folded += ' ';
    space = false;
    folded += ascii_lower(c);
  }
  return folded;
}

namespace {

// Whether fold_text(text) is `folded`; most texts differ after a few letters.
bool folds_to(std::string_view text, std::string_view folded) {
  std::size_t at = 0;
  const auto next_is = [&](char c) { return at < folded.size() && folded[at++] == c; };
  bool space = false;
  for (const char c : text) {
    if (is_gap(c)) {
      space = at > 0;
      continue;
    }
    if (space && !next_is(' ')) return false;
    space = false;
    if (!next_is(ascii_lower(c))) return false;
  }
  return at == folded.size();
}

}  // namespace

bool equals_any(const std::string& answer, std::span<const std::string> right) {
  const std::string folded = fold_text(answer);
  return std::any_of(right.begin(), right.end(),
                     [&](const std::string& text) { return folds_to(text, folded); });
}

}  // namespace blip2
