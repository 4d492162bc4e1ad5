#include "blip2/io/json_elements.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/io/json.h"

namespace blip2 {
namespace {

constexpr std::size_t kMaxKey = 4096;
constexpr std::string_view kSpace = " \t\r\n";

// What decides where a value ends. A table: lists of gigabytes go through it.
constexpr auto kSpecial = [] {
  std::array<bool, 256> special{};
  for (const char c : std::string_view("\"[]{},")) special[static_cast<std::uint8_t>(c)] = true;
  return special;
}();

}  // namespace

JsonElements::JsonElements(std::string_view text, std::string where, std::uint64_t base)
    : text_(text), where_(std::move(where)), base_(base) {
  if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
  skip_space();
  is_object_ = peek() == '{';
  if (!is_object_ && peek() != '[') fail("a JSON array or object");
  ++at_;
}

void JsonElements::fail(const std::string& expected) const {
  const bool cut = at_ >= text_.size();
  throw Error(fmt::format("expected {} at byte {}, {}", expected, base_ + at_,
                          cut ? "the text ends there" : "got something else"),
              where_, cut ? "the file is cut off" : "");
}

void JsonElements::skip_space() {
  while (at_ < text_.size() && kSpace.find(text_[at_]) != text_.npos) ++at_;
}

void JsonElements::skip_string() {
  while (true) {
    ++at_;
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\') ++at_;
    if (at_ >= text_.size()) fail("the end of a string");
    if (text_[at_] == '"') break;
    ++at_;  // the escaped character
  }
  ++at_;
}

// Strings and brackets alone are looked at: what lies between is checked when it is parsed.
void JsonElements::skip_value() {
  std::size_t depth = 0;
  do {
    while (at_ < text_.size() && !kSpecial[static_cast<std::uint8_t>(text_[at_])]) ++at_;
    if (at_ >= text_.size()) fail("the end of a value");
    const char c = text_[at_];
    if (c == '"') {
      skip_string();
      continue;
    }
    const bool closes = c == ']' || c == '}';
    if (depth == 0 && (closes || c == ',')) return;  // of the list itself
    depth += c == '[' || c == '{' ? 1 : 0;
    depth -= closes ? 1 : 0;
    ++at_;
  } while (true);
}

std::optional<JsonElement> JsonElements::next() {
  if (done_) return {};
  skip_space();
  const char end = is_object_ ? '}' : ']';
  if (peek() == end) {
    done_ = true;
    return {};
  }
  if (count_ > 0) {
    if (peek() != ',') fail(fmt::format("',' or '{}'", end));
    ++at_;
    skip_space();
  }
  JsonElement element;
  element.number = ++count_;
  if (is_object_) {
    const std::size_t start = at_;
    if (peek() != '"') fail("a key");
    skip_string();
    if (at_ - start > kMaxKey) fail("a short key");
    element.key = parse_json(text_.substr(start, at_ - start), where_).get<std::string>();
    skip_space();
    if (peek() != ':') fail("':'");
    ++at_;
    skip_space();
  }
  const std::size_t start = at_;
  element.offset = base_ + start;
  element.text = text_.substr(start);
  broken_ = element;
  skip_value();
  broken_.reset();
  const std::string_view text = text_.substr(start, at_ - start);
  element.text = text.substr(0, text.find_last_not_of(kSpace) + 1);
  return element;
}

}  // namespace blip2
