#include "blip2/evaluation/text_words_internal.h"

#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

bool is_apostrophe(char32_t c) {
  return c == U'\'' || c == U'\u2019';
}

// Whether a phrase ends at `c`; a hyphen is a dash if a space stands before it.
bool ends_phrase(char32_t c, char32_t before) {
  constexpr std::u32string_view kEnds = U",;:()[]{}/|&+\u2013\u2014";
  return kEnds.find(c) != kEnds.npos || (c == U'-' && is_whitespace(before));
}

}  // namespace

std::vector<TextWord> words_of(std::string_view text) {
  const std::string composed = compose(to_valid_utf8(text));
  std::vector<TextWord> words;
  TextWord word;
  char32_t before_word = 0, before = U' ';  // before the word; before the present code point
  const auto finish = [&] {
    const bool possessive = word.text == "s" && is_apostrophe(before_word);
    if (!word.text.empty() && !possessive) {
      words.push_back(word);
      word.begins_phrase = false;
    }
    word.text.clear();
  };
  for (std::string_view rest = composed; !rest.empty();) {
    const CodePoint point = decode_utf8(rest);
    rest.remove_prefix(point.bytes);
    const char32_t c = point.value;
    if (is_letter(c) || is_number(c) || is_nonspacing_mark(c)) {
      if (word.text.empty()) before_word = before;
      append_lower(word.text, c);
    } else {
      finish();
      word.begins_phrase |= ends_phrase(c, before);
    }
    before = c;
  }
  finish();
  return words;
}

}  // namespace blip2
