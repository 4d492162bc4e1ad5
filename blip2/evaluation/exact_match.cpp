#include "blip2/evaluation/exact_match.h"

#include <algorithm>

namespace blip2 {

std::string fold_text(const std::string& text) {
  std::string folded;
  bool space = false;
  for (const char c : text) {
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      space = !folded.empty();
      continue;
    }
    if (space) folded += ' ';
    space = false;
    folded += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return folded;
}

bool equals_any(const std::string& answer, std::span<const std::string> right) {
  const std::string folded = fold_text(answer);
  return std::any_of(right.begin(), right.end(),
                     [&](const std::string& text) { return fold_text(text) == folded; });
}

}  // namespace blip2
