#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace blip2 {

// One code point read from UTF-8 and the bytes it took.
struct CodePoint {
  char32_t value;
  std::size_t bytes;
};

// The code point at the start of a non-empty `text`. Malformed bytes read as U+FFFD, one for each
// maximal prefix of a well-formed sequence (Unicode 3.9, as Python's errors="replace").
CodePoint decode_utf8(std::string_view text);
void append_utf8(std::string& text, char32_t value);
// `text` with malformed bytes replaced by U+FFFD.
std::string to_valid_utf8(std::string_view text);

// Character classes and mappings as in the `tokenizers` library, which takes them from libraries of
// different Unicode versions. They are utf8proc's where these agree, otherwise tables of this
// library.

// The property White_Space, and the regex \s.
bool is_whitespace(char32_t c);
// str.isspace of Python: white space, and the separators U+001C to U+001F.
bool is_python_space(char32_t c);
// The regex \p{L} and \p{N}.
bool is_letter(char32_t c);
bool is_number(char32_t c);
// The regex [\p{Lu}\p{Lt}], \p{Ll} and \p{M}.
bool is_capital(char32_t c);
bool is_small(char32_t c);
bool is_mark(char32_t c);
// General category N, in the newer Unicode version of the Digits pre-tokenizer.
bool is_digit_split(char32_t c);
// The regex \w.
bool is_word(char32_t c);
// ASCII punctuation or general category P.
bool is_punctuation(char32_t c);
// General categories Cc, Cf, Co.
bool is_control(char32_t c);
// General category Mn.
bool is_nonspacing_mark(char32_t c);
// General categories Lu, Ll, Lt.
bool is_cased_letter(char32_t c);
// The CJK blocks that BERT puts spaces around.
bool is_chinese(char32_t c);

void append_lower(std::string& text, char32_t c);
std::string to_lower(std::string_view text);
// Canonical decomposition (NFD) of valid UTF-8.
std::u32string decompose(std::u32string_view text);
// Canonical composition (NFC) of valid UTF-8.
std::string compose(std::string_view text);
// The number of bytes of the first extended grapheme cluster of non-empty valid UTF-8; exact for
// clusters of less than six bytes.
std::size_t first_grapheme(std::string_view text);

}  // namespace blip2
