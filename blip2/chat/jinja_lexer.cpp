#include "blip2/chat/jinja_lexer_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/chat/jinja_text_internal.h"

namespace blip2 {
namespace {

using Kind = JinjaToken::Kind;

constexpr std::size_t kLongestName = 200;

// Lines end with \n alone, and one line end at the end of the template does not count.
std::string with_plain_lines(const std::string& source) {
  std::string out;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool starts_name(char c) {
  const char lower = static_cast<char>(c | 0x20);
  return (lower >= 'a' && lower <= 'z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

class Lexer {
 public:
  Lexer(const std::string& source, const std::string& where)
      : source_(with_plain_lines(source)), rest_(source_), where_(where) {}

  std::vector<JinjaToken> read() {
    while (at_ < source_.size()) read_text();
    tokens_.push_back({Kind::end, line_});
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw Error(message, jinja_place(where_, line_));
  }

  bool next_is(std::string_view text) const { return rest_.substr(at_).starts_with(text); }

  void go(std::size_t to) {
    to = std::min(to, source_.size());
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    at_ = to;
  }

  std::size_t behind_space(std::size_t at) const {
    while (at < source_.size()) {
      const CodePoint c = decode_utf8(rest_.substr(at));
      if (!is_python_space(c.value)) break;
      at += c.bytes;
    }
    return at;
  }

  // The text before a tag that begins at `end`, as the tag's sign and its kind leave it.
  void add_text(std::size_t end, char sign, bool variable) {
    const bool at_line_start = at_ == 0 || source_[at_ - 1] == '\n';
    JinjaText text(source_.substr(at_, end - at_));
    if (sign == '-') {
      text = stripped(text, nullptr, {.left = false});
    } else if (sign != '+' && !variable) {
      const std::size_t line = text.bytes().rfind('\n') + 1;  // 0 if there is none
      const bool begins = line > 0 || at_line_start;
      if (begins && stripped(text.part(line, text.size()), nullptr, {}).empty()) {
        text = text.part(0, line);
      }
    }
    if (!text.empty()) tokens_.push_back({Kind::text, line_, text.bytes()});
    go(end);
  }

  std::size_t find_tag(std::size_t from) const {
    for (std::size_t i = source_.find('{', from); i != std::string::npos;
         i = source_.find('{', i + 1)) {
      const char c = i + 1 < source_.size() ? source_[i + 1] : ' ';
      if (c == '%' || c == '{' || c == '#') return i;
    }
    return source_.size();
  }

  char sign_at(std::size_t at) const {
    const char c = at < source_.size() ? source_[at] : ' ';
    return c == '-' || c == '+' ? c : ' ';
  }

  void read_text() {
    const std::size_t tag = find_tag(at_);
    if (tag == source_.size()) return add_text(tag, '+', true);
    const char kind = source_[tag + 1], sign = sign_at(tag + 2);
    add_text(tag, sign, kind == '{');
    const std::size_t inner = tag + 2 + (sign == ' ' ? 0 : 1);
    if (kind == '#') return skip_comment(inner);
    if (kind == '%' && read_raw(inner)) return;
    tokens_.push_back({kind == '{' ? Kind::variable_begin : Kind::block_begin, line_});
    go(inner);
    read_tag(kind == '{');
  }

  // Behind the end of a block or a comment, of which the sign stands at `at`.
  std::size_t behind_end(std::size_t at) const {
    const bool signed_end = sign_at(at) != ' ';
    const std::size_t end = at + (signed_end ? 3 : 2);
    if (source_[at] == '-') return behind_space(end);
    return !signed_end && end < source_.size() && source_[end] == '\n' ? end + 1 : end;
  }

  void skip_comment(std::size_t inner) {
    const std::size_t end = source_.find("#}", inner);
    if (end == std::string::npos) fail("a comment has no end");
    const bool is_signed = end > inner && sign_at(end - 1) != ' ';
    go(behind_end(is_signed ? end - 1 : end));
  }

  // The first byte behind `word` and the white space around it; npos if it is not there.
  std::size_t behind_word(std::size_t at, std::string_view word) const {
    at = behind_space(at);
    if (!rest_.substr(at).starts_with(word)) return std::string::npos;
    return behind_space(at + word.size());
  }

  // {% raw %} … {% endraw %}
  bool read_raw(std::size_t inner) {
    const std::size_t head = behind_word(inner, "raw");
    if (head == std::string::npos) return false;
    const std::string_view end = rest_.substr(head);
    if (!end.starts_with("-%}") && !end.starts_with("%}")) return false;
    go(end[0] == '-' ? behind_space(head + 3) : head + 2);
    for (std::size_t i = at_; (i = source_.find("{%", i)) != std::string::npos; i += 2) {
      const char sign = sign_at(i + 2);
      const std::size_t tail = behind_word(i + (sign == ' ' ? 2 : 3), "endraw");
      if (tail == std::string::npos) continue;
      const std::size_t percent = tail + (sign_at(tail) == ' ' ? 0 : 1);
      if (!rest_.substr(percent).starts_with("%}")) continue;
      add_text(i, sign, false);
      go(behind_end(tail));
      return true;
    }
    fail("a raw block has no end");
  }

  void read_tag(bool variable) {
    brackets_.clear();
    while (true) {
      go(behind_space(at_));
      if (at_ >= source_.size()) fail(variable ? "{{ has no }}" : "{% has no %}");
      if (brackets_.empty() && read_end(variable)) return;
      read_token();
    }
  }

  bool read_end(bool variable) {
    const std::string_view end = variable ? "}}" : "%}";
    const char sign = sign_at(at_);
    const std::size_t mark = at_ + (sign == ' ' ? 0 : 1);
    if (!rest_.substr(mark).starts_with(end) || (variable && sign == '+')) return false;
    tokens_.push_back({variable ? Kind::variable_end : Kind::block_end, line_});
    if (!variable) {
      go(behind_end(at_));
    } else {
      go(sign == '-' ? behind_space(mark + 2) : mark + 2);
    }
    return true;
  }

  void read_token() {
    const char c = source_[at_];
    if (is_digit(c)) return read_number();
    if (starts_name(c)) return read_name();
    if (c == '\'' || c == '"') return read_string(c);
    for (const std::string_view sign : {"==", "!=", ">=", "<=", "//", "**"}) {
      if (next_is(sign)) return add_sign(sign);
    }
    if (std::string_view("+-/*%~[](){}<>=.:|,;").find(c) == std::string_view::npos) {
      fail(fmt::format("{} has no meaning here", quoted_text(rest_.substr(at_, 1))));
    }
    add_sign(rest_.substr(at_, 1));
  }

  void add_sign(std::string_view sign) {
    const char c = sign[0];
    if (c == '(' || c == '[' || c == '{') brackets_ += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (brackets_.empty() || brackets_.back() != c) fail(fmt::format("unexpected '{}'", c));
      brackets_.pop_back();
    }
    tokens_.push_back({Kind::sign, line_, std::string(sign)});
    go(at_ + sign.size());
  }

  void read_name() {
    std::size_t end = at_;
    while (end < source_.size() && (starts_name(source_[end]) || is_digit(source_[end]))) ++end;
    if (end - at_ > kLongestName) fail(fmt::format("a name is longer than {} bytes", kLongestName));
    tokens_.push_back({Kind::name, line_, source_.substr(at_, end - at_)});
    go(end);
  }

  // Digits from `at` on, with single _ between them.
  std::size_t behind_digits(std::size_t at, int base) const {
    const auto is_one = [&](std::size_t i) {
      if (i >= source_.size()) return false;
      int value = 0;
      const auto [end, error] = std::from_chars(&source_[i], &source_[i] + 1, value, base);
      return error == std::errc();
    };
    while (is_one(at) || (at < source_.size() && source_[at] == '_' && is_one(at + 1))) ++at;
    return at;
  }

  void read_number() {
    static constexpr std::string_view kBases = "bBoOxX";
    const std::size_t base_mark = source_[at_] == '0' && at_ + 1 < source_.size()
                                      ? kBases.find(source_[at_ + 1])
                                      : kBases.npos;
    if (base_mark != kBases.npos) {
      const int base = base_mark < 2 ? 2 : base_mark < 4 ? 8 : 16;
      return add_integer(at_ + 2, behind_digits(at_ + 2, base), base);
    }
    const std::size_t whole = behind_digits(at_, 10);
    std::size_t end = whole;
    if (end < source_.size() && source_[end] == '.') {
      const std::size_t fraction = behind_digits(end + 1, 10);
      if (fraction > end + 1) end = fraction;
    }
    if (end < source_.size() && (source_[end] | 0x20) == 'e') {
      const std::size_t digits = end + 1 + (sign_at(end + 1) == ' ' ? 0 : 1);
      const std::size_t exponent = behind_digits(digits, 10);
      if (exponent > digits) end = exponent;
    }
    const bool member = at_ > 0 && source_[at_ - 1] == '.';
    if (end == whole || member) return add_integer(at_, whole, 10);
    JinjaToken token{Kind::real, line_, digits_of(at_, end)};
    std::from_chars(token.text.data(), token.text.data() + token.text.size(), token.real);
    tokens_.push_back(std::move(token));
    go(end);
  }

  std::string digits_of(std::size_t begin, std::size_t end) const {
    std::string digits = source_.substr(begin, end - begin);
    std::erase(digits, '_');
    return digits;
  }

  void add_integer(std::size_t begin, std::size_t end, int base) {
    JinjaToken token{Kind::integer, line_, digits_of(begin, end)};
    const char* last = token.text.data() + token.text.size();
    const auto read = std::from_chars(token.text.data(), last, token.integer, base);
    if (read.ec != std::errc() || read.ptr != last) {
      fail(fmt::format("{} is not a number of 64 bits", quoted_text(token.text)));
    }
    tokens_.push_back(std::move(token));
    go(end);
  }

  void read_string(char quote) {
    JinjaToken token{Kind::string, line_};
    std::size_t i = at_ + 1;
    while (i < source_.size() && source_[i] != quote) {
      if (source_[i] == '\\' && i + 1 < source_.size()) {
        i = read_escape(i + 1, token.text);
      } else {
        token.text += source_[i++];
      }
    }
    if (i >= source_.size()) fail("a string has no end");
    tokens_.push_back(std::move(token));
    go(i + 1);
  }

  // Python's escapes; `at` is behind the backslash. Returns the first byte behind the escape.
  std::size_t read_escape(std::size_t at, std::string& text) const {
    static constexpr std::string_view kNames = "\\'\"abfnrtv", kValues = "\\'\"\a\b\f\n\r\t\v";
    const char c = source_[at];
    if (c == '\n') return at + 1;
    if (const std::size_t named = kNames.find(c); named != kNames.npos) {
      text += kValues[named];
      return at + 1;
    }
    if (c >= '0' && c <= '7') return read_code(at, 1, 3, 8, text);
    if (c == 'x') return read_code(at + 1, 2, 2, 16, text);
    if (c == 'u') return read_code(at + 1, 4, 4, 16, text);
    if (c == 'U') return read_code(at + 1, 8, 8, 16, text);
    text += '\\';
    return at;
  }

  std::size_t read_code(std::size_t at, std::size_t least, std::size_t most, int base,
                        std::string& text) const {
    std::size_t end = at;
    std::uint32_t value = 0;
    for (; end < source_.size() && end < at + most; ++end) {
      std::uint32_t digit = 0;
      const auto read = std::from_chars(&source_[end], &source_[end] + 1, digit, base);
      if (read.ec != std::errc()) break;
      value = value * static_cast<std::uint32_t>(base) + digit;
    }
    if (end - at < least) fail("a string has a broken escape");
    const bool character = value < 0x110000 && (value < 0xD800 || value >= 0xE000);
    append_utf8(text, character ? static_cast<char32_t>(value) : U'\uFFFD');
    return end;
  }

  const std::string source_;
  const std::string_view rest_;
  const std::string& where_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::string brackets_;  // that have to be closed
  std::vector<JinjaToken> tokens_;
};

}  // namespace

std::string jinja_place(const std::string& where, int line) {
  return fmt::format("{}: line {}", where, line);
}

std::vector<JinjaToken> read_jinja_tokens(const std::string& source, const std::string& where) {
  return Lexer(source, where).read();
}

}  // namespace blip2
