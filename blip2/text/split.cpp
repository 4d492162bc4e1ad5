#include "blip2/text/split.h"

#include <string>

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

bool is_line_end(char c) {
  return c == '\r' || c == '\n';
}

// A contraction in any case; U+017F is an s in another case.
std::size_t contraction_of_any_case(std::string_view text) {
  std::string lower;
  std::size_t bytes[3] = {0, 0, 0};
  for (std::size_t count = 0, at = 0; count < 3 && at < text.size(); ++count) {
    const CodePoint c = decode_utf8(text.substr(at));
    append_lower(lower, c.value == 0x17f ? U's' : c.value);
    bytes[count] = at += c.bytes;
  }
  const std::size_t length = contraction(lower);
  return length == 0 ? 0 : bytes[length - 1];
}

// \s*[\r\n]+: a run of white space up to its last line end, or nothing if it has none.
std::size_t line_ends(std::string_view text) {
  std::size_t found = 0;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text.substr(at));
    if (!is_whitespace(c.value)) break;
    at += c.bytes;
    if (is_line_end(text[at - 1])) found = at;
  }
  return found;
}

std::size_t numbers(std::string_view text, int limit) {
  std::size_t at = 0;
  for (; at < text.size() && limit > 0; --limit) {
    const CodePoint c = decode_utf8(text.substr(at));
    if (!is_number(c.value)) break;
    at += c.bytes;
  }
  return at;
}

// How a word of o200k's goes on: capitals, then small letters. Letters without case and marks are
// both.
bool can_be_capital(char32_t c) {
  return is_mark(c) || (is_letter(c) && !is_small(c));
}
bool can_be_small(char32_t c) {
  return is_mark(c) || (is_letter(c) && !is_capital(c));
}

template <typename Is>
std::size_t end_of(std::string_view text, std::size_t at, const Is& is) {
  while (at < text.size()) {
    const CodePoint c = decode_utf8(text.substr(at));
    if (!is(c.value)) break;
    at += c.bytes;
  }
  return at;
}

// The end of capitals* small+ from `at`; `at` if it does not match. Capitals give back what small
// letters need: their last character that can be one.
std::size_t small_word(std::string_view text, std::size_t at) {
  std::size_t last = at;  // where the last of the capitals stands that can be a small letter
  bool found = false;
  std::size_t end = at;
  for (; end < text.size();) {
    const CodePoint c = decode_utf8(text.substr(end));
    if (!can_be_capital(c.value)) break;
    if (can_be_small(c.value)) last = end, found = true;
    end += c.bytes;
  }
  const std::size_t small = end_of(text, end, can_be_small);
  if (small > end) return small;
  return found ? end_of(text, last, can_be_small) : at;
}

// The end of capitals+ small*.
std::size_t capital_word(std::string_view text, std::size_t at) {
  const std::size_t end = end_of(text, at, can_be_capital);
  return end == at ? at : end_of(text, end, can_be_small);
}

// The end of the first word of o200k's pattern, or 0. A character that is no letter, number or line
// end may stand before either kind.
std::size_t cased_word(std::string_view text) {
  const CodePoint first = decode_utf8(text);
  const Kind kind = kind_of(first.value);
  const bool before = kind != Kind::letter && kind != Kind::number && !is_line_end(text[0]);
  for (const auto word : {small_word, capital_word}) {
    if (before && word(text, first.bytes) > first.bytes) return word(text, first.bytes);
    if (word(text, 0) > 0) return word(text, 0);
  }
  return 0;
}

// The number of bytes of the first match of o200k's or tekken's pattern.
std::size_t cased_split(std::string_view text, bool o200k) {
  if (const std::size_t end = cased_word(text)) {
    const std::string_view rest = text.substr(end);
    return end + (o200k && rest.starts_with('\'') ? contraction_of_any_case(rest) : 0);
  }
  const std::size_t start = text[0] == ' ' ? 1 : 0;
  if (std::size_t at = numbers(text, o200k ? 3 : 1)) return at;
  if (std::size_t at = end_of_run(text, start, Kind::other); at > start) {
    while (at < text.size() && (is_line_end(text[at]) || text[at] == '/')) ++at;
    return at;
  }
  const std::size_t lines = line_ends(text);
  return lines > 0 ? lines : white_space(text);
}

// The number of bytes of the first match of CLIP's pattern, or of the white space before it.
std::size_t clip_split(std::string_view text, bool with_special) {
  if (with_special) {
    for (const std::string_view token : {"<|startoftext|>", "<|endoftext|>"}) {
      if (text.starts_with(token)) return token.size();
    }
  }
  if (const std::size_t length = contraction(text)) return length;
  const CodePoint first = decode_utf8(text);
  const Kind kind = kind_of(first.value);
  return kind == Kind::number ? first.bytes : end_of_run(text, first.bytes, kind);
}

}  // namespace

std::string_view split_regex(SplitPattern pattern) {
  if (pattern == SplitPattern::llama3) {
    return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
           R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  }
  if (pattern == SplitPattern::qwen2) {
    return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
           R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  }
  if (pattern == SplitPattern::o200k) {
    return R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
           R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
           R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
           R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
           R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  }
  if (pattern == SplitPattern::tekken) {
    return R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
           R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
           R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  }
  if (pattern == SplitPattern::clip) {
    return R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";
  }
  if (pattern == SplitPattern::clip_special) {
    return R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|)"
           R"([^\s\p{L}\p{N}]+)";
  }
  return {};
}

bool drops_spaces(SplitPattern pattern) {
  return pattern == SplitPattern::clip || pattern == SplitPattern::clip_special;
}

std::size_t first_split(std::string_view text, SplitPattern pattern) {
  if (drops_spaces(pattern)) return clip_split(text, pattern == SplitPattern::clip_special);
  if (pattern == SplitPattern::o200k || pattern == SplitPattern::tekken) {
    return cased_split(text, pattern == SplitPattern::o200k);
  }
  if (text[0] == '\'') {
    if (const std::size_t length = contraction_of_any_case(text)) return length;
  }
  const CodePoint first = decode_utf8(text);
  const Kind kind = kind_of(first.value);
  if (kind == Kind::number) return numbers(text, pattern == SplitPattern::llama3 ? 3 : 1);
  const std::size_t letters = kind == Kind::letter || is_line_end(text[0]) ? 0 : first.bytes;
  const std::size_t end = end_of_run(text, letters, Kind::letter);
  if (end > letters) return end;
  const std::size_t start = text[0] == ' ' ? 1 : 0;
  if (std::size_t at = end_of_run(text, start, Kind::other); at > start) {
    while (at < text.size() && is_line_end(text[at])) ++at;
    return at;
  }
  const std::size_t lines = line_ends(text);
  return lines > 0 ? lines : white_space(text);
}

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
