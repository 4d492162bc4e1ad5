#include "blip2/chat/jinja_case_internal.h"

#include <utf8proc.h>

#include <unordered_map>

#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

// Characters of which the upper or the title case has several characters: "c UPPER Title;", as
// Python 3.11 (Unicode 14) has them.
// clang-format off
constexpr std::string_view kManyCharacters =
    "ß SS Ss;ŉ ʼN ʼN;ǰ J̌ J̌;ΐ Ϊ́ Ϊ́;ΰ Ϋ́ Ϋ́;և ԵՒ Եւ;ẖ H̱ H̱;ẗ T̈ T̈;ẘ W̊ W̊;ẙ Y̊ Y̊;"
    "ẚ Aʾ Aʾ;ὐ Υ̓ Υ̓;ὒ Υ̓̀ Υ̓̀;ὔ Υ̓́ Υ̓́;ὖ Υ̓͂ Υ̓͂;ᾀ ἈΙ ᾈ;ᾁ ἉΙ ᾉ;ᾂ ἊΙ ᾊ;ᾃ ἋΙ ᾋ;ᾄ ἌΙ ᾌ;"
    "ᾅ ἍΙ ᾍ;ᾆ ἎΙ ᾎ;ᾇ ἏΙ ᾏ;ᾈ ἈΙ ᾈ;ᾉ ἉΙ ᾉ;ᾊ ἊΙ ᾊ;ᾋ ἋΙ ᾋ;ᾌ ἌΙ ᾌ;ᾍ ἍΙ ᾍ;ᾎ ἎΙ ᾎ;ᾏ ἏΙ ᾏ;ᾐ ἨΙ ᾘ;"
    "ᾑ ἩΙ ᾙ;ᾒ ἪΙ ᾚ;ᾓ ἫΙ ᾛ;ᾔ ἬΙ ᾜ;ᾕ ἭΙ ᾝ;ᾖ ἮΙ ᾞ;ᾗ ἯΙ ᾟ;ᾘ ἨΙ ᾘ;ᾙ ἩΙ ᾙ;ᾚ ἪΙ ᾚ;ᾛ ἫΙ ᾛ;ᾜ ἬΙ ᾜ;"
    "ᾝ ἭΙ ᾝ;ᾞ ἮΙ ᾞ;ᾟ ἯΙ ᾟ;ᾠ ὨΙ ᾨ;ᾡ ὩΙ ᾩ;ᾢ ὪΙ ᾪ;ᾣ ὫΙ ᾫ;ᾤ ὬΙ ᾬ;ᾥ ὭΙ ᾭ;ᾦ ὮΙ ᾮ;ᾧ ὯΙ ᾯ;ᾨ ὨΙ ᾨ;"
    "ᾩ ὩΙ ᾩ;ᾪ ὪΙ ᾪ;ᾫ ὫΙ ᾫ;ᾬ ὬΙ ᾬ;ᾭ ὭΙ ᾭ;ᾮ ὮΙ ᾮ;ᾯ ὯΙ ᾯ;ᾲ ᾺΙ Ὰͅ;ᾳ ΑΙ ᾼ;ᾴ ΆΙ Άͅ;ᾶ Α͂ Α͂;"
    "ᾷ Α͂Ι ᾼ͂;ᾼ ΑΙ ᾼ;ῂ ῊΙ Ὴͅ;ῃ ΗΙ ῌ;ῄ ΉΙ Ήͅ;ῆ Η͂ Η͂;ῇ Η͂Ι ῌ͂;ῌ ΗΙ ῌ;ῒ Ϊ̀ Ϊ̀;"
    "ΐ Ϊ́ Ϊ́;ῖ Ι͂ Ι͂;ῗ Ϊ͂ Ϊ͂;ῢ Ϋ̀ Ϋ̀;ΰ Ϋ́ Ϋ́;ῤ Ρ̓ Ρ̓;ῦ Υ͂ Υ͂;ῧ Ϋ͂ Ϋ͂;ῲ ῺΙ Ὼͅ;"
    "ῳ ΩΙ ῼ;ῴ ΏΙ Ώͅ;ῶ Ω͂ Ω͂;ῷ Ω͂Ι ῼ͂;ῼ ΩΙ ῼ;ﬀ FF Ff;ﬁ FI Fi;ﬂ FL Fl;ﬃ FFI Ffi;ﬄ FFL Ffl;"
    "ﬅ ST St;ﬆ ST St;ﬓ ՄՆ Մն;ﬔ ՄԵ Մե;ﬕ ՄԻ Մի;ﬖ ՎՆ Վն;ﬗ ՄԽ Մխ;";
// clang-format on

struct UpperAndTitle {
  std::string_view upper, title;
};

std::unordered_map<char32_t, UpperAndTitle> read_many_characters() {
  std::unordered_map<char32_t, UpperAndTitle> cases;
  for (std::string_view rest = kManyCharacters; !rest.empty();) {
    const std::string_view row = rest.substr(0, rest.find(';'));
    const std::size_t first = row.find(' '), second = row.find(' ', first + 1);
    cases[decode_utf8(row).value] = {row.substr(first + 1, second - first - 1),
                                     row.substr(second + 1)};
    rest.remove_prefix(row.size() + 1);
  }
  return cases;
}

const UpperAndTitle* many_characters(char32_t c) {
  static const auto cases = read_many_characters();
  const auto found = cases.find(c);
  return found == cases.end() ? nullptr : &found->second;
}

std::string text_of(utf8proc_int32_t c) {
  std::string text;
  append_utf8(text, static_cast<char32_t>(c));
  return text;
}

}  // namespace

std::string upper_case(char32_t c) {
  if (const UpperAndTitle* many = many_characters(c)) return std::string(many->upper);
  return text_of(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}

std::string title_case(char32_t c) {
  if (const UpperAndTitle* many = many_characters(c)) return std::string(many->title);
  return text_of(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
}

bool is_upper_letter(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_LU;
}

bool is_lower_letter(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_LL;
}

bool is_printable(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return c == ' ';
    default:
      return true;
  }
}

}  // namespace blip2
