#include "blip2/text/split.h"

#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

enum class Kind { space, letter, number, other };

Kind kind_of(char32_t c) {
  if (is_whitespace(c)) return Kind::space;
  if (is_letter(c)) return Kind::letter;
  return is_number(c) ? Kind::number : Kind::other;
}

std::size_t contraction(std::string_view text) {
  for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.starts_with(ending)) return ending.size();
  }
  return 0;
}

// The end of the run of characters of `kind` that starts at `at`.
std::size_t end_of_run(std::string_view text, std::size_t at, Kind kind) {
  while (at < text.size()) {
    const CodePoint c = decode_utf8(text.substr(at));
    if (kind_of(c.value) != kind) break;
    at += c.bytes;
  }
  return at;
}

// A run of white space, but for its last character if something follows and it has several.
std::size_t white_space(std::string_view text) {
  std::size_t end = 0, last = 0;
  while (end < text.size()) {
    const CodePoint c = decode_utf8(text.substr(end));
    if (!is_whitespace(c.value)) break;
    last = end;
    end += c.bytes;
  }
  return end == text.size() || last == 0 ? end : last;
}

}  // namespace

std::size_t first_digit_split(std::string_view text, DigitSplit split) {
  if (split == DigitSplit::none) return text.size();
  const CodePoint first = decode_utf8(text);
  const bool number = is_digit_split(first.value);
  std::size_t end = first.bytes;
  if (number && split == DigitSplit::single) return end;
  while (end < text.size()) {
    const CodePoint c = decode_utf8(text.substr(end));
    if (is_digit_split(c.value) != number) break;
    end += c.bytes;
  }
  return end;
}

std::size_t first_word(std::string_view text) {
  if (text[0] == '\'') {
    if (const std::size_t length = contraction(text)) return length;
  }
  std::size_t start = text[0] == ' ' && text.size() > 1 ? 1 : 0;
  Kind kind = kind_of(decode_utf8(text.substr(start)).value);
  if (kind == Kind::space) return white_space(text);
  return end_of_run(text, start, kind);
}

}  // namespace blip2
