#include "blip2/evaluation/exact_match.h"

#include <algorithm>

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

bool equals_any(const std::string& answer, std::span<const std::string> right) {
  const std::string folded = fold_text(answer);
  const char first = folded.empty() ? '\0' : folded[0];
  return std::any_of(right.begin(), right.end(), [&](const std::string& text) {
    // Most texts differ in their first letter already.
    const bool may_be =
        text.empty() || first == '\0' || is_gap(text[0]) || ascii_lower(text[0]) == first;
    return may_be && fold_text(text) == folded;
  });
}

}  // namespace blip2
