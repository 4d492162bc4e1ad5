#include "blip2/evaluation/meteor_words_internal.h"

#include <algorithm>

#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

constexpr char32_t kStop = 0x110000;  // one of several in a row; no text has this code point
constexpr std::u32string_view kMeteorSpaces = U" \t\n\r\f";
constexpr std::u32string_view kWideSpaces =
    U"\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000";

bool is_any(std::u32string_view set, char32_t c) {
  return set.find(c) != set.npos;
}

bool is_ascii_digit(char32_t c) {
  return c >= U'0' && c <= U'9';
}

// Letters of Western European and Cyrillic scripts.
bool is_western(char32_t c) {
  constexpr char32_t kRanges[][2] = {{U'A', U'Z'},     {U'a', U'z'},     {0xc0, 0xd6},
                                     {0xd8, 0xf6},     {0xf8, 0x17e},    {0x400, 0x527},
                                     {0xa640, 0xa66e}, {0xa67e, 0xa697}, {0x1d00, 0x1d7f}};
  return c == 0x178 || std::any_of(std::begin(kRanges), std::end(kRanges), [&](const auto& range) {
           return c >= range[0] && c <= range[1];
         });
}

bool is_alphanumeric(char32_t c) {
  return is_western(c) || is_ascii_digit(c);
}

std::u32string decode(std::string_view text) {
  std::u32string out;
  while (!text.empty()) {
    const CodePoint c = decode_utf8(text);
    out += c.value;
    text.remove_prefix(c.bytes);
  }
  return out;
}

// What a regular expression's replaceAll of (before) c (after) by $1 `by` $2 gives.
template <typename Before, typename After>
std::u32string between(const std::u32string& text, char32_t c, std::u32string_view by,
                       const Before& before, const After& after) {
  if (text.find(c) == text.npos) return text;
  std::u32string out;
  std::size_t i = 0;
  while (i < text.size()) {
    out += text[i];
    if (i + 2 < text.size() && text[i + 1] == c && before(text[i]) && after(text[i + 2])) {
      out += by;
      out += text[i + 2];
      i += 3;
    } else {
      ++i;
    }
  }
  return out;
}

std::u32string symbols_apart(std::u32string_view text) {
  constexpr std::u32string_view kTogether = U" \t\n\v\f\r.'`,-\u2018\u2019";
  std::u32string out = U" ";
  for (const char32_t c : text) {
    const bool together = is_alphanumeric(c) || is_any(kTogether, c);
    if (!together) out += U' ';
    out += c;
    if (!together) out += U' ';
  }
  return out + U' ';
}

std::u32string rows_of_stops_apart(const std::u32string& text) {
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = text.find_first_not_of(U'.', i);
    if (end == text.npos) end = text.size();
    if (end - i >= 2) {
      out += U' ' + std::u32string(end - i, kStop) + U' ';
      i = end;
    } else {
      out += text[i++];
    }
  }
  return out;
}

std::u32string replaced(std::u32string text, std::u32string_view from, std::u32string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::u32string plain_quotes_and_dashes(std::u32string text) {
  for (char32_t& c : text) {
    if (is_any(U"`\u2018\u2019", c)) c = U'\'';
    if (c == U'\u2013') c = U'-';
  }
  for (const std::u32string_view quote : {U"\u201c", U"\u201d", U"''"}) {
    text = replaced(std::move(text), quote, U" \" ");
  }
  return replaced(std::move(text), U"--", U"-");
}

std::u32string contractions_apart(std::u32string text) {
  const auto other = [](char32_t c) { return !is_western(c); };
  const auto symbol = [](char32_t c) { return !is_alphanumeric(c); };
  text = between(text, U'\'', U" ' ", other, other);
  text = between(text, U'\'', U" ' ", symbol, is_western);
  text = between(text, U'\'', U" ' ", is_western, other);
  text = between(text, U'\'', U" '", is_western, is_western);
  return between(text, U'\'', U" '", is_ascii_digit, [](char32_t c) { return c == U's'; });
}

std::vector<std::u32string> parts_of(const std::u32string& text) {
  std::vector<std::u32string> parts;
  for (std::size_t at = 0; (at = text.find_first_not_of(kMeteorSpaces, at)) != text.npos;) {
    const std::size_t end = std::min(text.find_first_of(kMeteorSpaces, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end;
  }
  return parts;
}

std::string encode_lower(const std::u32string& word) {
  std::string out;
  for (const char32_t c : word) append_lower(out, c == kStop ? U'.' : c);
  return out;
}

std::string encode(std::u32string_view word) {
  std::string out;
  for (const char32_t c : word) append_utf8(out, c);
  return out;
}

// Words of plain letters and digits between single spaces: nothing has to be done with them.
bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return c == ' ' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  });
}

std::vector<std::string> between_blanks(std::string_view text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; (at = text.find_first_not_of(' ', at)) != text.npos;) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    words.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

}  // namespace

MeteorTokeniser::MeteorTokeniser(std::string_view prefixes) {
  while (!prefixes.empty()) {
    const std::string_view line = prefixes.substr(0, prefixes.find('\n'));
    prefixes.remove_prefix(std::min(line.size() + 1, prefixes.size()));
    const auto parts = parts_of(decode(line));
    if (parts.empty() || parts[0][0] == U'#') continue;
    prefixes_[encode(parts[0])] = parts.size() > 1 && parts[1] == U"#NUMERIC_ONLY#";
  }
}

bool MeteorTokeniser::keeps_stop(const std::u32string& before_stop,
                                 const std::u32string* next) const {
  const auto known = prefixes_.find(encode(before_stop));
  const char32_t first = next == nullptr ? U' ' : (*next)[0];
  if (known != prefixes_.end() && !known->second) return true;
  if (first >= U'a' && first <= U'z') return true;
  return known != prefixes_.end() && is_ascii_digit(first);
}

std::u32string MeteorTokeniser::with_stops_apart(const std::vector<std::u32string>& words) const {
  std::u32string out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::u32string word = words[i];
    if (word.size() > 1 && word.back() == U'.') {
      const std::u32string before = word.substr(0, word.size() - 1);
      if (is_any(before, U'.') && std::any_of(before.begin(), before.end(), is_western)) {
        std::erase(word, U'.');  // "u.s." is "us"
      } else if (!keeps_stop(before, i + 1 < words.size() ? &words[i + 1] : nullptr)) {
        word = before + U" .";
      }
    }
    out += word + U' ';
  }
  return out;
}

std::vector<std::string> MeteorTokeniser::words(std::string_view text) const {
  if (is_plain(text)) return between_blanks(text);
  const auto is_other = [](char32_t c) { return !is_ascii_digit(c); };
  std::u32string line = rows_of_stops_apart(symbols_apart(decode(text)));
  line = between(line, U',', U" , ", is_other, is_other);
  line = between(line, U',', U" , ", is_ascii_digit, is_other);
  line = between(line, U',', U" , ", is_other, is_ascii_digit);
  line = between(
      plain_quotes_and_dashes(std::move(line)), U'-', U" ",
      [](char32_t c) { return is_alphanumeric(c) || c == U'.'; }, is_alphanumeric);
  line = with_stops_apart(parts_of(contractions_apart(std::move(line))));
  for (char32_t& c : line) {
    if (is_any(kWideSpaces, c)) c = U' ';
  }
  std::vector<std::string> words;
  for (const std::u32string& word : parts_of(line)) words.push_back(encode_lower(word));
  return words;
}

std::int32_t java_hash(std::u16string_view text) {
  std::uint32_t hash = 0;
  for (const char16_t unit : text) hash = 31 * hash + unit;
  return static_cast<std::int32_t>(hash);
}

std::u16string to_utf16(std::string_view text) {
  std::u16string out;
  for (const char32_t c : decode(text)) {
    if (c < 0x10000) {
      out += static_cast<char16_t>(c);
    } else {
      out += static_cast<char16_t>(0xd7c0 + (c >> 10));
      out += static_cast<char16_t>(0xdc00 | (c & 0x3ff));
    }
  }
  return out;
}

}  // namespace blip2
