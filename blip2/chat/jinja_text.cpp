#include "blip2/chat/jinja_text_internal.h"

#include <fmt/format.h>

#include <algorithm>

#include "blip2/chat/jinja_case_internal.h"

namespace blip2 {
namespace {

struct Character {
  char32_t value;
  std::size_t begin, end;
};

std::vector<Character> characters_of(std::string_view text) {
  std::vector<Character> characters;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text.substr(at));
    characters.push_back({c.value, at, at + c.bytes});
    at += c.bytes;
  }
  return characters;
}

// Greek's sigma has another form at the end of a word.
bool ends_word(std::string_view text, std::size_t begin, std::size_t end) {
  std::size_t before = begin;
  while (before > 0 && (static_cast<unsigned char>(text[--before]) & 0xC0) == 0x80) continue;
  const bool follows = begin > 0 && is_cased_letter(decode_utf8(text.substr(before)).value);
  const bool goes_on = end < text.size() && is_cased_letter(decode_utf8(text.substr(end)).value);
  return follows && !goes_on;
}

std::string lower_of(char32_t c, std::string_view text, std::size_t begin, std::size_t end) {
  if (c == 0x3A3) return ends_word(text, begin, end) ? "ς" : "σ";
  std::string lower;
  append_lower(lower, c);
  return lower;
}

bool in_set(std::string_view set, char32_t c) {
  for (std::size_t at = 0; at < set.size();) {
    const CodePoint one = decode_utf8(set.substr(at));
    if (one.value == c) return true;
    at += one.bytes;
  }
  return false;
}

std::vector<JinjaText> split_at(const JinjaText& text, std::string_view separator, std::size_t most,
                                bool from_right) {
  const std::string& bytes = text.bytes();
  std::vector<JinjaText> parts;
  std::size_t begin = 0, end = bytes.size();
  while (parts.size() < most) {
    const std::string_view rest = std::string_view(bytes).substr(begin, end - begin);
    const std::size_t found = from_right ? rest.rfind(separator) : rest.find(separator);
    if (found == rest.npos) break;
    if (from_right) {
      parts.push_back(text.part(begin + found + separator.size(), end));
      end = begin + found;
    } else {
      parts.push_back(text.part(begin, begin + found));
      begin += found + separator.size();
    }
  }
  parts.push_back(text.part(begin, end));
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

// Words between white space; what is left after `most` cuts stays as it is.
std::vector<JinjaText> split_words(const JinjaText& text, std::size_t most, bool from_right) {
  std::vector<Character> all = characters_of(text.bytes());
  if (from_right) std::reverse(all.begin(), all.end());
  const auto skip = [&](std::size_t at, bool space) {
    while (at < all.size() && is_python_space(all[at].value) == space) ++at;
    return at;
  };
  const auto part = [&](std::size_t first, std::size_t last) {  // characters [first, last)
    return from_right ? text.part(all[last - 1].begin, all[first].end)
                      : text.part(all[first].begin, all[last - 1].end);
  };
  std::vector<JinjaText> parts;
  std::size_t at = skip(0, true);
  while (at < all.size()) {
    const std::size_t end = parts.size() < most ? skip(at, false) : all.size();
    parts.push_back(part(at, end));
    at = skip(end, true);
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

bool ends_line(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

JinjaText& JinjaText::append(std::string_view text, bool is_typed) {
  const std::size_t begin = bytes_.size();
  bytes_ += text;
  if (!is_typed || text.empty()) return *this;
  if (!typed_.empty() && typed_.back().end == begin) {
    typed_.back().end = bytes_.size();
  } else {
    typed_.push_back({begin, bytes_.size()});
  }
  return *this;
}

JinjaText& JinjaText::append(const JinjaText& other, std::size_t begin, std::size_t end) {
  const std::string_view bytes = other.bytes_;
  std::size_t at = begin;
  auto stretch = std::lower_bound(other.typed_.begin(), other.typed_.end(), begin,
                                  [](const TextStretch& s, std::size_t b) { return s.end <= b; });
  for (; stretch != other.typed_.end() && stretch->begin < end; ++stretch) {
    const std::size_t from = std::max(stretch->begin, begin), to = std::min(stretch->end, end);
    append(bytes.substr(at, from - at), false);
    append(bytes.substr(from, to - from), true);
    at = to;
  }
  return append(bytes.substr(at, end - at), false);
}

std::size_t count_characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::size_t byte_of_character(std::string_view text, std::size_t index) {
  std::size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += decode_utf8(text.substr(at)).bytes;
  return at;
}

JinjaText to_upper_text(const JinjaText& text) {
  JinjaText out;
  text.each_character(
      [&](char32_t c, std::size_t, std::size_t, bool typed) { out.append(upper_case(c), typed); });
  return out;
}

JinjaText to_lower_text(const JinjaText& text) {
  JinjaText out;
  text.each_character([&](char32_t c, std::size_t begin, std::size_t end, bool typed) {
    out.append(lower_of(c, text.bytes(), begin, end), typed);
  });
  return out;
}

JinjaText to_capitalized(const JinjaText& text) {
  JinjaText out;
  text.each_character([&](char32_t c, std::size_t begin, std::size_t end, bool typed) {
    out.append(begin == 0 ? title_case(c) : lower_of(c, text.bytes(), begin, end), typed);
  });
  return out;
}

JinjaText to_title(const JinjaText& text) {
  JinjaText out;
  bool within = false;
  text.each_character([&](char32_t c, std::size_t begin, std::size_t end, bool typed) {
    out.append(within ? lower_of(c, text.bytes(), begin, end) : title_case(c), typed);
    within = is_cased_letter(c);
  });
  return out;
}

JinjaText stripped(const JinjaText& text, const std::string* characters, StripEnds ends) {
  std::size_t first = text.size(), last = 0;
  text.each_character([&](char32_t c, std::size_t begin, std::size_t end, bool) {
    if (characters ? in_set(*characters, c) : is_python_space(c)) return;
    first = std::min(first, begin);
    last = end;
  });
  if (!ends.left) first = 0;
  if (!ends.right) last = text.size();
  return first < last ? text.part(first, last) : JinjaText();
}

std::vector<JinjaText> split_text(const JinjaText& text, const std::string* separator,
                                  std::int64_t most, bool from_right) {
  const std::size_t cuts = most < 0 ? text.size() + 1 : static_cast<std::size_t>(most);
  return separator ? split_at(text, *separator, cuts, from_right)
                   : split_words(text, cuts, from_right);
}

std::vector<JinjaText> split_lines(const JinjaText& text, bool keep_ends) {
  std::vector<JinjaText> lines;
  const std::vector<Character> all = characters_of(text.bytes());
  std::size_t begin = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!ends_line(all[i].value)) continue;
    const std::size_t end = all[i].begin;
    if (all[i].value == '\r' && i + 1 < all.size() && all[i + 1].value == '\n') ++i;
    lines.push_back(text.part(begin, keep_ends ? all[i].end : end));
    begin = all[i].end;
  }
  if (begin < text.size()) lines.push_back(text.part(begin, text.size()));
  return lines;
}

JinjaText replaced(const JinjaText& text, std::string_view from, const JinjaText& to,
                   std::int64_t most) {
  JinjaText out;
  std::size_t at = 0;
  for (std::int64_t done = 0; most < 0 || done < most; ++done) {
    // An empty `from` stands before every character and at the end.
    const std::size_t found = text.bytes().find(from, at);
    if (found == std::string::npos) break;
    out.append(text, at, found).append(to);
    at = found + from.size();
    if (!from.empty()) continue;
    if (found == text.size()) return out;
    const std::size_t next =
        found + decode_utf8(std::string_view(text.bytes()).substr(found)).bytes;
    out.append(text, found, next);
    at = next;
  }
  return out.append(text, std::min(at, text.size()), text.size());
}

JinjaText escaped(const JinjaText& text) {
  if (text.is_safe()) return text;
  JinjaText out;
  text.each_character([&](char32_t c, std::size_t begin, std::size_t end, bool typed) {
    const std::string_view name = c == '&'    ? "&amp;"
                                  : c == '<'  ? "&lt;"
                                  : c == '>'  ? "&gt;"
                                  : c == '\'' ? "&#39;"
                                  : c == '"'
                                      ? "&#34;"
                                      : std::string_view(text.bytes()).substr(begin, end - begin);
    out.append(name, typed);
  });
  return out.mark_safe();
}

std::string quoted_text(std::string_view text) {
  const bool doubled = text.find('\'') != text.npos && text.find('"') == text.npos;
  const char quote = doubled ? '"' : '\'';
  std::string out(1, quote);
  for (const Character& c : characters_of(text)) {
    if (c.value == '\\' || c.value == static_cast<unsigned char>(quote)) {
      out += '\\';
      out += static_cast<char>(c.value);
    } else if (c.value == '\n' || c.value == '\r' || c.value == '\t') {
      out += c.value == '\n' ? "\\n" : c.value == '\r' ? "\\r" : "\\t";
    } else if (is_printable(c.value)) {
      out += text.substr(c.begin, c.end - c.begin);
    } else {
      const auto code = static_cast<std::uint32_t>(c.value);
      out += code < 0x100     ? fmt::format("\\x{:02x}", code)
             : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                              : fmt::format("\\U{:08x}", code);
    }
  }
  return out + quote;
}

}  // namespace blip2
