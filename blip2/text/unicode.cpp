#include "blip2/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <span>

namespace blip2 {
namespace {

struct Range {
  char32_t first, last;
};

bool contains(std::span<const Range> ranges, char32_t c) {
  const auto at = std::upper_bound(ranges.begin(), ranges.end(), c,
                                   [](char32_t v, const Range& r) { return v < r.first; });
  return at != ranges.begin() && c <= std::prev(at)->last;
}

// utf8proc 2.8 knows Unicode 15.0. The tables below are where `tokenizers` 0.23 differs, found by
// asking it about every code point (tests/parity/test_text.py does so again). Ranges may span code
// points for which the question does not arise.

// Letters and numbers of Unicode 15.1 and 16 (its regex engine, Oniguruma, knows them).
constexpr Range kNewLetters[] = {
    {0x1c89, 0x1c8a},   {0xa7cb, 0xa7cd},   {0xa7da, 0xa7dc},   {0x105c0, 0x105f3},
    {0x10d4a, 0x10d65}, {0x10d6f, 0x10d85}, {0x10ec2, 0x10ec4}, {0x11380, 0x11389},
    {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x113b5}, {0x113b7, 0x113b7},
    {0x113d1, 0x113d1}, {0x113d3, 0x113d3}, {0x11bc0, 0x11be0}, {0x13460, 0x143fa},
    {0x16100, 0x1611d}, {0x16d40, 0x16d6c}, {0x18cff, 0x18cff}, {0x1e5d0, 0x1e5ed},
    {0x1e5f0, 0x1e5f0}, {0x2ebf0, 0x2ee5d}};
// Those of the letters that have a case, and marks.
constexpr Range kNewCapitals[] = {
    {0x1c89, 0x1c89}, {0xa7cb, 0xa7cc}, {0xa7da, 0xa7da}, {0xa7dc, 0xa7dc}, {0x10d50, 0x10d65}};
constexpr Range kNewSmallLetters[] = {
    {0x1c8a, 0x1c8a}, {0xa7cd, 0xa7cd}, {0xa7db, 0xa7db}, {0x10d70, 0x10d85}};
constexpr Range kNewestMarks[] = {{0x897, 0x897},     {0x10d69, 0x10d6d}, {0x10efc, 0x10efc},
                                  {0x113b8, 0x113c0}, {0x113c2, 0x113c2}, {0x113c5, 0x113c5},
                                  {0x113c7, 0x113ca}, {0x113cc, 0x113d0}, {0x113d2, 0x113d2},
                                  {0x113e1, 0x113e2}, {0x11f5a, 0x11f5a}, {0x1611e, 0x1612f},
                                  {0x1e5ee, 0x1e5ef}};
constexpr Range kNewNumbers[] = {{0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9},
                                 {0x16130, 0x16139}, {0x16d70, 0x16d79}, {0x1ccf0, 0x1ccf9},
                                 {0x1e5f1, 0x1e5fa}};
// Numbers of Unicode 17 (Rust's char::is_numeric, which splits digits, knows them).
constexpr Range kNewestNumbers[] = {{0x11de0, 0x11de9}, {0x16ff4, 0x16ff6}};

// Unicode 8 is what the unicode_categories crate knows: no punctuation, marks and format controls
// that came later, and a few that changed.
constexpr Range kNewPunctuation[] = {{0x61d, 0x61d},     {0x9fd, 0xa76},     {0xc77, 0xc84},
                                     {0x1b7d, 0x1b7e},   {0x2e43, 0x2e5d},   {0x10ead, 0x10f89},
                                     {0x1144b, 0x1145d}, {0x11660, 0x116b9}, {0x1183b, 0x11fff},
                                     {0x12ff1, 0x12ff2}, {0x16e97, 0x16fe2}, {0x1e95e, 0x1e95f}};
constexpr Range kNewMarks[] = {
    {0x8d4, 0x8e1},     {0xafa, 0xaff},     {0xb55, 0xb55},     {0xc04, 0xc04},
    {0xd00, 0xd00},     {0xd81, 0xd81},     {0xece, 0xece},     {0x180f, 0x1886},
    {0x1dfb, 0x1dfb},   {0xa8c5, 0xa8c5},   {0xa8ff, 0xa8ff},   {0xa9bd, 0xa9bd},
    {0x11073, 0x11074}, {0x110c2, 0x110c2}, {0x111c9, 0x111c9}, {0x111cf, 0x111cf},
    {0x1123e, 0x11241}, {0x11438, 0x11446}, {0x1182f, 0x13455}, {0x16f4f, 0x16f4f},
    {0x16fe4, 0x16fe4}, {0x1cf00, 0x1cf46}, {0x1e000, 0x1e02a}, {0x1e944, 0x1e94a}};
constexpr Range kNewControls[] = {
    {0x890, 0x891}, {0x8e2, 0x8e2}, {0x110cd, 0x110cd}, {0x13430, 0x1343f}};
// Marks later than Unicode 9, which is what the normalisation crate knows: it does not reorder
// them (combining class 0), nor does unicode_categories know them.
constexpr Range kUnorderedMarks[] = {
    {0x7fd, 0x7fd},     {0x898, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1ace},
    {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},   {0x10d24, 0x10f85}, {0x11070, 0x11070},
    {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x1193d, 0x1193e},
    {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47},
    {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97},
    {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e4ef}};

// Circled letters: alphabetic though symbols.
constexpr Range kAlphabeticSymbols[] = {
    {0x24b6, 0x24e9}, {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189}};
constexpr Range kChinese[] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},
                              {0x20000, 0x2a6df}, {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f},
                              {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};

// Lower-case mappings of Unicode 16 and 17 (Rust's): first, last, distance, step.
struct Mapping {
  char32_t first, last;
  std::int32_t distance;
  char32_t step;
};
constexpr Mapping kNewLower[] = {{0x1c89, 0x1c89, 1, 1},    {0xa7cb, 0xa7cb, 0x264 - 0xa7cb, 1},
                                 {0xa7cc, 0xa7ce, 1, 2},    {0xa7d2, 0xa7d4, 1, 2},
                                 {0xa7da, 0xa7da, 1, 1},    {0xa7dc, 0xa7dc, 0x19b - 0xa7dc, 1},
                                 {0x10d50, 0x10d65, 32, 1}, {0x16ea0, 0x16eb8, 27, 1}};

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool within(utf8proc_category_t c, utf8proc_category_t first, utf8proc_category_t last) {
  return c >= first && c <= last;
}

int combining_class(char32_t c) {
  if (c < 0x300 || contains(kUnorderedMarks, c)) return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
}

void append_decomposed(std::u32string& out, char32_t c) {
  constexpr char32_t kLaterDecomposition = 0x11938;  // Unicode 13
  utf8proc_int32_t parts[8];
  int boundary = 0;
  const utf8proc_ssize_t count =
      c < 0xc0 || c == kLaterDecomposition
          ? 0
          : utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 8,
                                    static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE), &boundary);
  if (count <= 0 || count > 8) {
    out += c;
  } else {
    out.append(parts, parts + count);
  }
}

// The character that the two compose to, or 0.
char32_t composed(char32_t first, char32_t second) {
  utf8proc_int32_t pair[] = {static_cast<utf8proc_int32_t>(first),
                             static_cast<utf8proc_int32_t>(second)};
  const auto length = utf8proc_normalize_utf32(
      pair, 2, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  return length == 1 ? static_cast<char32_t>(pair[0]) : 0;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

}  // namespace

bool is_whitespace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_python_space(char32_t c) {
  return is_whitespace(c) || (c >= 0x1c && c <= 0x1f);
}

bool is_letter(char32_t c) {
  if (c < 0x80) return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
  const utf8proc_category_t kind = category(c);
  return within(kind, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LO) ||
         (kind == UTF8PROC_CATEGORY_CN && contains(kNewLetters, c));
}

bool is_number(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const utf8proc_category_t kind = category(c);
  return within(kind, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO) ||
         (kind == UTF8PROC_CATEGORY_CN && contains(kNewNumbers, c));
}

bool is_capital(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z';
  const utf8proc_category_t kind = category(c);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LT ||
         (kind == UTF8PROC_CATEGORY_CN && contains(kNewCapitals, c));
}

bool is_small(char32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z';
  const utf8proc_category_t kind = category(c);
  return kind == UTF8PROC_CATEGORY_LL ||
         (kind == UTF8PROC_CATEGORY_CN && contains(kNewSmallLetters, c));
}

bool is_mark(char32_t c) {
  if (c < 0x300) return false;
  const utf8proc_category_t kind = category(c);
  return within(kind, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME) ||
         (kind == UTF8PROC_CATEGORY_CN && contains(kNewestMarks, c));
}

bool is_digit_split(char32_t c) {
  return is_number(c) || (c > 0x11000 && contains(kNewestNumbers, c));
}

bool is_word(char32_t c) {
  if (c < 0x80) return is_letter(c) || is_number(c) || c == '_';
  const utf8proc_category_t kind = category(c);
  return is_letter(c) || within(kind, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME) ||
         kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
         kind == UTF8PROC_CATEGORY_PC || c == 0x200c || c == 0x200d ||
         contains(kAlphabeticSymbols, c) ||
         (kind == UTF8PROC_CATEGORY_CN && contains(kNewNumbers, c));
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) return c > ' ' && c < 0x7f && !is_letter(c) && !is_number(c);
  if (within(category(c), UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO)) {
    return !contains(kNewPunctuation, c);
  }
  return c == 0x166d || c == 0x111c9;
}

bool is_control(char32_t c) {
  if (c < 0x80) return c < ' ' || c == 0x7f;
  const utf8proc_category_t kind = category(c);
  return kind == UTF8PROC_CATEGORY_CC || kind == UTF8PROC_CATEGORY_CO ||
         (kind == UTF8PROC_CATEGORY_CF && !contains(kNewControls, c));
}

bool is_nonspacing_mark(char32_t c) {
  if (c < 0x300) return false;
  if (category(c) != UTF8PROC_CATEGORY_MN) return c == 0x1734;
  return !contains(kNewMarks, c) && !contains(kUnorderedMarks, c);
}

bool is_cased_letter(char32_t c) {
  return within(category(c), UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LT);
}

bool is_chinese(char32_t c) {
  return c >= 0x3400 && contains(kChinese, c);
}

void append_lower(std::string& text, char32_t c) {
  if (c < 0x80) {
    text += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  } else if (c == 0x130) {  // the one letter whose lower case is two code points
    append_utf8(text, U'i');
    append_utf8(text, 0x307);
  } else {
    for (const Mapping& m : kNewLower) {
      if (c >= m.first && c <= m.last && (c - m.first) % m.step == 0) {
        return append_utf8(text, static_cast<char32_t>(static_cast<std::int32_t>(c) + m.distance));
      }
    }
    append_utf8(text, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

std::string to_lower(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const CodePoint c = decode_utf8(text);
    append_lower(out, c.value);
    text.remove_prefix(c.bytes);
  }
  return out;
}

std::u32string decompose(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size() + text.size() / 8);
  for (const char32_t c : text) append_decomposed(out, c);
  for (auto start = out.begin(); start != out.end(); ++start) {
    if (combining_class(*start) == 0) continue;
    const auto end = std::find_if(start, out.end(), [](char32_t c) { return !combining_class(c); });
    std::stable_sort(
        start, end, [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
    start = std::prev(end);
  }
  return out;
}

std::string compose(std::string_view text) {
  if (is_ascii(text)) return std::string(text);
  std::u32string points;
  for (; !text.empty(); text.remove_prefix(decode_utf8(text).bytes)) {
    points += decode_utf8(text).value;
  }
  std::u32string out;
  constexpr std::size_t kNone = std::u32string::npos;
  std::size_t starter = kNone;  // the last character that others may compose with
  int last = 0;                 // the class of the last mark that was kept behind it
  for (const char32_t c : decompose(points)) {
    const int rank = combining_class(c);
    const bool adjacent = starter != kNone && starter + 1 == out.size();
    if (starter != kNone && (adjacent || last < rank)) {
      if (const char32_t both = composed(out[starter], c)) {
        out[starter] = both;
        continue;
      }
    }
    if (rank == 0) starter = out.size();
    last = rank;
    out += c;
  }
  std::string result;
  for (const char32_t c : out) append_utf8(result, c);
  return result;
}

std::size_t first_grapheme(std::string_view text) {
  CodePoint before = decode_utf8(text);
  std::size_t at = before.bytes;
  utf8proc_int32_t state = 0;
  while (at < text.size()) {
    const CodePoint next = decode_utf8(text.substr(at));
    if (before.value < 0x80 && next.value < 0x80 && before.value != '\r') break;
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(before.value),
                                         static_cast<utf8proc_int32_t>(next.value), &state)) {
      break;
    }
    at += next.bytes;
    before = next;
  }
  return at;
}

}  // namespace blip2
