#include "blip2/evaluation/caption_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/parallel.h"
#include "blip2/evaluation/pattern_automaton_internal.h"
#include "blip2/evaluation/ptb_rules_internal.h"
#include "blip2/evaluation/python_text_internal.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

constexpr std::size_t kLongest = 10'000;

// pycocoevalcap's list; "-LRB-" and its like are on it too but never match, being in lower case.
constexpr std::array<std::string_view, 13> kDropped{"''", "'", "``", "`",  ".",   "?", "!",
                                                    ",",  ":", "-",  "--", "...", ";"};

bool is_line_break(char32_t c) {
  return (c >= '\n' && c <= '\r') || c == 0x85 || c == 0x2028 || c == 0x2029;
}

void append_utf16(std::u16string& text, char32_t c) {
  if (c < 0x10000) {
    text += static_cast<char16_t>(c);
  } else {
    text += static_cast<char16_t>(0xd7c0 + (c >> 10));
    text += static_cast<char16_t>(0xdc00 | (c & 0x3ff));
  }
}

// The captions as lines.
std::u16string lines_of(std::span<const std::string_view> captions) {
  std::u16string lines;
  std::size_t bytes = captions.size();
  for (const std::string_view caption : captions) bytes += caption.size();
  lines.reserve(bytes);
  for (std::size_t i = 0; i < captions.size(); ++i) {
    if (i > 0) lines += u'\n';
    const std::size_t begin = lines.size();
    for (std::string_view rest = captions[i]; !rest.empty();) {
      if (rest[0] >= ' ' && rest[0] <= '~') {
        lines += static_cast<char16_t>(rest[0]);
        rest.remove_prefix(1);
        continue;
      }
      const CodePoint c = decode_utf8(rest);
      append_utf16(lines, is_line_break(c.value) ? U' ' : c.value);
      rest.remove_prefix(c.bytes);
    }
    if (lines.size() - begin > kLongest) {
      throw Error(fmt::format("expected a caption of at most {} characters, got {}", kLongest,
                              lines.size() - begin),
                  fmt::format("caption {}", i + 1), "leave it out, or cut it");
    }
  }
  return lines;
}

bool contains(std::u16string_view set, char16_t unit) {
  return set.find(unit) != set.npos;
}

std::u16string replaced(std::u16string text, std::u16string_view from, std::u16string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::u16string with_treebank_quotes(const std::u16string& text) {
  std::u16string out;
  for (const char16_t unit : replaced(text, u"&apos;", u"'")) {
    if (contains(u"\u0091\u2018\u201b\u2039", unit)) {
      out += u'`';
    } else if (contains(u"\u0092\u2019\u203a", unit)) {
      out += u'\'';
    } else if (contains(u"\u0093\u201c\u00ab", unit)) {
      out += u"``";
    } else if (contains(u"\u0094\u201d\u00bb", unit)) {
      out += u"''";
    } else {
      out += unit;
    }
  }
  return out;
}

std::u16string with_brackets(const std::u16string& text) {
  return replaced(replaced(text, u"(", u"-lrb-"), u")", u"-rrb-");
}

std::u16string with_ampersands(std::u16string text) {
  for (std::size_t at = 0; (at = text.find(u'&', at)) != text.npos; ++at) {
    constexpr std::u16string_view kEntity = u"&amp;";
    const bool entity = std::equal(
        kEntity.begin(), kEntity.end(), text.begin() + static_cast<std::ptrdiff_t>(at),
        text.begin() + static_cast<std::ptrdiff_t>(std::min(text.size(), at + kEntity.size())),
        [](char16_t a, char16_t b) { return a == b || (b < 0x80 && (b | 0x20) == a); });
    if (entity) text.replace(at, kEntity.size(), u"&");
  }
  return text;
}

std::u16string as_fraction(const std::u16string& text) {
  switch (text[0]) {
    case u'\u00bc':
      return u"1/4";
    case u'\u00bd':
      return u"1/2";
    case u'\u00be':
      return u"3/4";
    case u'\u2153':
      return u"1/3";
    case u'\u2154':
      return u"2/3";
    default:
      return text;
  }
}

std::u16string as_currency(const std::u16string& text) {
  if (text[0] == u'\u00a2') return u"cents";
  if (text[0] == u'\u00a3') return u"#";
  return contains(u"\u0080\u00a4\u20a0\u20ac", text[0]) ? u"$" : text;
}

std::u16string edited(std::u16string text, PtbEdit edit) {
  switch (edit) {
    case PtbEdit::no_soft_hyphen:
      std::erase(text, u'\u00ad');
      return text.empty() ? u"-" : text;
    case PtbEdit::ampersand:
      return with_ampersands(std::move(text));
    case PtbEdit::quotes:
      return with_treebank_quotes(text);
    case PtbEdit::no_break:
      return replaced(with_brackets(text), u" ", u"\u00a0");
    case PtbEdit::brackets:
      return with_brackets(text);
    case PtbEdit::fraction:
      return as_fraction(text);
    case PtbEdit::currency:
      return as_currency(text);
    default:
      return text;
  }
}

char32_t code_point_at(std::u16string_view text, std::size_t at) {
  const bool pair = text[at] >= 0xd800 && text[at] < 0xdc00 && at + 1 < text.size();
  return pair ? ((text[at] - 0xd7c0u) << 10) + (text[at + 1] & 0x3ffu) : text[at];
}

// Part of a word as Java's BreakIterator has it, as far as letters with case go: neither ideographs
// nor kana, but the marks that may stand between letters.
bool in_word(char16_t unit) {
  constexpr std::u16string_view kJoining = u".'\"-\u00ad\u2010\u2011\u2027";
  const bool ideograph =
      unit == 0x3005 || (unit >= 0x4e00 && unit <= 0x9fa5) || (unit >= 0xf900 && unit <= 0xfa2d);
  const bool kana = unit >= 0x3041 && unit <= 0x30fe;
  return (is_word(unit) && !ideograph && !kana) || contains(kJoining, unit);
}

// Java's notion of a letter with case has the small modifier letters too.
bool has_case(char16_t unit) {
  return is_cased_letter(unit) || (unit >= 0x2b0 && unit <= 0x2b8) ||
         (unit >= 0x1d2c && unit <= 0x1d61);
}

// Whether the unit at `at` ends its word: there is a cased letter before it and none after it.
bool is_final(std::u16string_view text, std::size_t at) {
  bool before = false;
  for (std::size_t i = at; i > 0 && !before && in_word(text[i - 1]); --i) {
    before = has_case(text[i - 1]);
  }
  for (std::size_t i = at + 1; i < text.size() && in_word(text[i]); ++i) {
    if (has_case(text[i])) return false;
  }
  return before;
}

// Lower case as Java has it: a capital sigma at the end of a word becomes the final one.
void append_lower_text(std::string& out, std::u16string_view text) {
  constexpr char32_t kSigma = 0x3a3, kFinalSigma = 0x3c2;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] >= u'a' && text[i] <= u'z') {
      out += static_cast<char>(text[i]);
      continue;
    }
    const char32_t c = code_point_at(text, i);
    append_lower(out, c == kSigma && is_final(text, i) ? kFinalSigma : c);
    i += c >= 0x10000;
  }
}

class CaptionTokeniser {
 public:
  CaptionTokeniser() : automaton_(patterns(), ptb_names()) {}

  // The captions of lines[begin, end), which ends at a line's end.
  std::vector<std::string> run(std::u16string_view lines, std::size_t begin, std::size_t end) {
    for (std::size_t at = begin; at < end;) {
      const auto match = automaton_.longest(lines, at);
      at += take(lines.substr(at, match.end - at),
                 ptb_rules()[static_cast<std::size_t>(match.pattern)]);
    }
    end_caption();
    return std::move(captions_);
  }

 private:
  static std::vector<std::string> patterns() {
    std::vector<std::string> patterns;
    for (const PtbRule& rule : ptb_rules()) {
      patterns.push_back(fmt::format("({})({})", rule.pattern, rule.follows));
    }
    return patterns;
  }

  // Does what the rule says with the text that it matched; gives the units that this took.
  std::size_t take(std::u16string_view matched, const PtbRule& rule) {
    std::size_t length = matched.size() - rule.given_back;
    if (!rule.before.empty()) length = matched.find_last_of(rule.before);
    if (rule.length > 0) length = rule.length;
    if (rule.edit == PtbEdit::newline) {
      end_caption();
    } else if (rule.edit == PtbEdit::fixed) {
      end_word();
      word_ = rule.text;
    } else if (rule.edit == PtbEdit::keep) {
      end_word();
      append_lower_text(word_, matched.substr(0, length));
    } else if (rule.edit != PtbEdit::skip) {
      end_word();
      append_lower_text(word_, edited(std::u16string(matched.substr(0, length)), rule.edit));
    }
    return length;
  }

  void end_word() {
    constexpr std::size_t kLongestDropped = 3;
    const bool dropped = word_.size() <= kLongestDropped &&
                         std::find(kDropped.begin(), kDropped.end(), word_) != kDropped.end();
    if (!word_.empty() && !dropped) {
      if (!caption_.empty()) caption_ += ' ';
      caption_ += word_;
    }
    word_.clear();
  }

  void end_caption() {
    word_.resize(strip_right(word_).size());
    end_word();
    captions_.emplace_back(caption_);
    caption_.clear();
  }

  PatternAutomaton automaton_;
  std::string word_, caption_;  // at hand
  std::vector<std::string> captions_;
};

// Where up to `parts` parts of the text begin, each at a line's beginning, and its end.
std::vector<std::size_t> line_parts(std::u16string_view lines, std::size_t parts) {
  std::vector<std::size_t> borders{0};
  for (std::size_t part = 1; part < parts; ++part) {
    const std::size_t end =
        lines.find(u'\n', std::max(borders.back(), lines.size() * part / parts));
    if (end == lines.npos) break;
    borders.push_back(end + 1);
  }
  borders.push_back(lines.size());
  return borders;
}

}  // namespace

std::vector<std::string> tokenise_captions(std::span<const std::string_view> captions,
                                           std::size_t threads) {
  constexpr std::size_t kLeastPart = 1u << 18;  // an automaton for less is not worth while
  if (captions.empty()) return {};
  const std::u16string lines = lines_of(captions);
  const auto borders =
      line_parts(lines, std::clamp<std::size_t>(lines.size() / kLeastPart, 1, threads));
  std::vector<std::vector<std::string>> parts(borders.size() - 1);
  parallel_for(parts.size(), threads, [&](std::size_t i) {
    // A part but the last ends before its last line's end, which run() takes for a caption's.
    const std::size_t end = borders[i + 1] - (i + 1 < parts.size() ? 1 : 0);
    parts[i] = CaptionTokeniser().run(lines, borders[i], end);
  });
  std::vector<std::string> all = std::move(parts[0]);
  for (std::size_t i = 1; i < parts.size(); ++i) {
    all.insert(all.end(), std::make_move_iterator(parts[i].begin()),
               std::make_move_iterator(parts[i].end()));
  }
  return all;
}

}  // namespace blip2
