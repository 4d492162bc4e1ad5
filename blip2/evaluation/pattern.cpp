#include "blip2/evaluation/pattern_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using Range = CharSet::Range;
constexpr int kNone = PatternNodes::kNone;

CharSet one(char16_t unit) {
  return CharSet({{unit, unit}});
}

// An ASCII letter in either case; the long s, the Kelvin sign and the Turkish i letters belong to
// s, k and i.
CharSet caseless(char16_t unit) {
  const char16_t lower = unit | 0x20;
  if (lower < u'a' || lower > u'z') return one(unit);
  const char16_t upper = lower & ~0x20;
  std::vector<Range> units{{lower, lower}, {upper, upper}};
  if (lower == u'i') units.push_back({0x130, 0x131});
  if (lower == u'k') units.push_back({0x212a, 0x212a});
  if (lower == u's') units.push_back({0x17f, 0x17f});
  return CharSet(units);
}

// Part of the automaton: from its first node to one that has no way on yet.
struct Part {
  int first, last;
};

class PatternParser {
 public:
  PatternParser(PatternNodes& out, std::string_view text, const PatternNames& names)
      : out_(out), text_(text), names_(names) {}

  Part parse() {
    const Part part = alternatives();
    if (at_ < text_.size()) fail("expected the end");
    return part;
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw Error(fmt::format("pattern '{}': {} at character {}", text_, what, at_));
  }
  bool at(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool take(char c) {
    if (!at(c)) return false;
    ++at_;
    return true;
  }
  void need(char c) {
    if (!take(c)) fail(fmt::format("expected '{}'", c).c_str());
  }

  int node(PatternNodes::Node node = {}) {
    out_.nodes.push_back(node);
    return static_cast<int>(out_.nodes.size()) - 1;
  }
  void join(int from, int to) { out_.nodes[from].next = to; }

  Part reading(const CharSet& set) {
    const auto found = std::find(out_.sets.begin(), out_.sets.end(), set);
    const int index = static_cast<int>(found - out_.sets.begin());
    if (found == out_.sets.end()) out_.sets.push_back(set);
    const int last = node();
    return {node({.set = index, .next = last}), last};
  }

  Part alternatives() {
    Part all = sequence();
    while (take('|')) {
      const Part other = sequence();
      const int last = node();
      join(all.last, last);
      join(other.last, last);
      all = {node({.next = all.first, .alternative = other.first}), last};
    }
    return all;
  }

  Part sequence() {
    const int empty = node();
    Part all{empty, empty};
    while (at_ < text_.size() && !at('|') && !at(')')) {
      const Part next = repeated();
      join(all.last, next.first);
      all.last = next.last;
    }
    return all;
  }

  Part optional(Part part) {
    return {node({.next = part.first, .alternative = part.last}), part.last};
  }
  Part many(Part part) {  // one or more
    const int last = node();
    const int again = node({.next = part.first, .alternative = last});
    join(part.last, again);
    return {part.first, last};
  }

  Part repeated() {
    const std::size_t begin = at_;
    const Part part = atom();
    if (take('+')) return many(part);
    if (take('?')) return optional(part);
    if (take('*')) return optional(many(part));
    const bool counted = at('{') && at_ + 1 < text_.size() && std::isdigit(text_[at_ + 1]) != 0;
    return counted ? counted_repeat(part, begin) : part;
  }

  // The atom at `begin`, parsed once as `all`, least to most times.
  Part counted_repeat(Part all, std::size_t begin) {
    need('{');
    const int least = number();
    const int most = take(',') ? number() : least;
    need('}');
    const std::size_t end = at_;
    if (least == 0) all = optional(all);
    for (int i = 1; i < most; ++i) {
      at_ = begin;
      const Part more = i < least ? atom() : optional(atom());
      join(all.last, more.first);
      all.last = more.last;
    }
    at_ = end;
    return all;
  }

  int number() {
    int value = 0;
    const auto [end, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc{}) fail("expected a number");
    at_ = static_cast<std::size_t>(end - text_.data());
    return value;
  }

  Part atom() {
    if (take('(')) {
      const Part part = alternatives();
      need(')');
      return part;
    }
    if (take('[')) return reading(set());
    if (take('{')) return named();
    return reading(caseless(unit()));
  }

  Part named() {
    const std::size_t end = text_.find('}', at_);
    if (end == text_.npos) fail("expected '}'");
    const std::string_view name = text_.substr(at_, end - at_);
    const auto set = names_.sets.find(name);
    const auto pattern = names_.patterns.find(name);
    if (set == names_.sets.end() && pattern == names_.patterns.end()) fail("unknown name");
    at_ = end + 1;
    if (set != names_.sets.end()) return reading(set->second);
    return PatternParser(out_, pattern->second, names_).parse();
  }

  CharSet set() {
    const bool negated = take('^');
    std::vector<Range> ranges;
    while (!at(']')) {
      const char16_t first = unit();
      const bool range = at('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']';
      if (range) ++at_;
      ranges.push_back({first, range ? unit() : first});
    }
    need(']');
    const CharSet set(std::move(ranges));
    return negated ? set.complement() : set;
  }

  char16_t unit() {
    if (at_ >= text_.size()) fail("unexpected end");
    if (!take('\\')) return static_cast<unsigned char>(text_[at_++]);
    if (!take('u')) return static_cast<unsigned char>(text_[at_++]);
    std::uint16_t value = 0;
    const char* begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, begin + 4, value, 16);
    if (error != std::errc{} || end != begin + 4) fail("expected four hexadecimal digits");
    at_ += 4;
    return value;
  }

  PatternNodes& out_;
  std::string_view text_;
  const PatternNames& names_;
  std::size_t at_ = 0;
};

}  // namespace

int PatternNodes::add(std::string_view pattern, int number, const PatternNames& names) {
  const Part part = PatternParser(*this, pattern, names).parse();
  nodes[part.last].pattern = number;
  return part.first;
}

}  // namespace blip2
