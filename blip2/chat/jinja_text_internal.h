#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/text/tokenizer.h"
#include "blip2/text/unicode.h"

namespace blip2 {

// A string of a template: valid UTF-8 that knows which of its bytes somebody typed, so that special
// tokens count in what the template wrote alone. Whatever a template does with strings keeps the
// marks. A plain value.
class JinjaText {
 public:
  JinjaText() = default;
  explicit JinjaText(std::string own) : bytes_(std::move(own)) {}
  JinjaText(std::string bytes, std::vector<TextStretch> typed)
      : bytes_(std::move(bytes)), typed_(std::move(typed)) {}

  const std::string& bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  // In rising order, apart from each other.
  const std::vector<TextStretch>& typed() const { return typed_; }
  // Whether it is what Jinja calls Markup: `+` and some methods escape what they join to it.
  bool is_safe() const { return safe_; }
  JinjaText& mark_safe(bool safe = true) {
    safe_ = safe;
    return *this;
  }

  JinjaText& append(std::string_view text, bool is_typed = false);
  JinjaText& append(const JinjaText& other) { return append(other, 0, other.size()); }
  // The bytes [begin, end) of another text.
  JinjaText& append(const JinjaText& other, std::size_t begin, std::size_t end);
  JinjaText part(std::size_t begin, std::size_t end) const {
    return JinjaText().append(*this, begin, end);
  }

  // Calls visit(code point, first byte, byte behind it, whether it was typed) for each character.
  template <typename Visit>
  void each_character(Visit&& visit) const {
    auto stretch = typed_.begin();
    for (std::size_t at = 0; at < bytes_.size();) {
      const CodePoint c = decode_utf8(std::string_view(bytes_).substr(at));
      while (stretch != typed_.end() && stretch->end <= at) ++stretch;
      visit(c.value, at, at + c.bytes, stretch != typed_.end() && stretch->begin <= at);
      at += c.bytes;
    }
  }

 private:
  std::string bytes_;
  std::vector<TextStretch> typed_;
  bool safe_ = false;
};

// Python's methods of strings; characters are code points, as in Python.
std::size_t count_characters(std::string_view text);
// The first byte of character `index`; the text's size if it has no more than `index` characters.
std::size_t byte_of_character(std::string_view text, std::size_t index);

JinjaText to_upper_text(const JinjaText& text);
JinjaText to_lower_text(const JinjaText& text);
JinjaText to_capitalized(const JinjaText& text);
// str.title(): each run of cased letters begins with a title-case one.
JinjaText to_title(const JinjaText& text);
// Which ends strip() works on.
struct StripEnds {
  bool left = true, right = true;
};
// Without white space, or without `characters` if they are given, at its ends.
JinjaText stripped(const JinjaText& text, const std::string* characters, StripEnds ends);
// Parts between `separator`, or between runs of white space if it is nullptr; `most` cuts at most,
// or any number if it is negative, counted from the right if `from_right`.
std::vector<JinjaText> split_text(const JinjaText& text, const std::string* separator,
                                  std::int64_t most, bool from_right);
std::vector<JinjaText> split_lines(const JinjaText& text, bool keep_ends);
// `most` replacements at most, or any number if it is negative.
JinjaText replaced(const JinjaText& text, std::string_view from, const JinjaText& to,
                   std::int64_t most);
// With & < > ' " as HTML has them, and safe; a safe text stays as it is.
JinjaText escaped(const JinjaText& text);
// repr() of a string.
std::string quoted_text(std::string_view text);

}  // namespace blip2
