#include <fmt/format.h>

#include <algorithm>

#include "blip2/chat/jinja_call_internal.h"

namespace blip2 {
namespace {

constexpr std::int64_t kWidest = 10'000;

struct Layout {
  bool left = false, zero = false, plus = false, space = false;
  std::int64_t width = 0, precision = -1;
};

// A number at `at`, which moves behind it.
std::int64_t read_count(std::string_view pattern, std::size_t& at) {
  std::int64_t count = 0;
  while (at < pattern.size() && pattern[at] >= '0' && pattern[at] <= '9') {
    count = count * 10 + (pattern[at++] - '0');
    if (count > kWidest) jinja_fault("a format is too wide");
  }
  return count;
}

Layout read_layout(std::string_view pattern, std::size_t& at) {
  Layout layout;
  for (;
       at < pattern.size() && std::string_view("-0+ #").find(pattern[at]) != std::string_view::npos;
       ++at) {
    layout.left = layout.left || pattern[at] == '-';
    layout.zero = layout.zero || pattern[at] == '0';
    layout.plus = layout.plus || pattern[at] == '+';
    layout.space = layout.space || pattern[at] == ' ';
  }
  layout.width = read_count(pattern, at);
  if (at < pattern.size() && pattern[at] == '.') layout.precision = read_count(pattern, ++at);
  return layout;
}

std::int64_t whole_of(const JinjaValue& value) {
  if (const auto whole = whole_number(value)) return *whole;
  const auto real = number(value);
  if (!real || !(*real > -9.2e18 && *real < 9.2e18)) jinja_fault("%d needs a number");
  return static_cast<std::int64_t>(*real);
}

// Digits without sign.
std::string number_text(char kind, const Layout& layout, const JinjaValue& value, bool& negative) {
  const auto precision = static_cast<int>(layout.precision < 0 ? 6 : layout.precision);
  if (kind == 'd' || kind == 'i' || kind == 'x' || kind == 'X' || kind == 'o') {
    const std::int64_t whole = whole_of(value);
    negative = whole < 0;
    const auto size =
        negative ? 0 - static_cast<std::uint64_t>(whole) : static_cast<std::uint64_t>(whole);
    return kind == 'x'   ? fmt::format("{:x}", size)
           : kind == 'X' ? fmt::format("{:X}", size)
           : kind == 'o' ? fmt::format("{:o}", size)
                         : std::to_string(size);
  }
  const auto real = number(value);
  if (!real) jinja_fault(fmt::format("%{} needs a number", kind));
  negative = *real < 0;
  const double size = negative ? -*real : *real;
  return kind == 'e'   ? fmt::format("{:.{}e}", size, precision)
         : kind == 'g' ? fmt::format("{:.{}g}", size, precision)
                       : fmt::format("{:.{}f}", size, precision);
}

JinjaText laid_out(JinjaText text, const Layout& layout) {
  const auto length = static_cast<std::int64_t>(count_characters(text.bytes()));
  const std::string fill(static_cast<std::size_t>(std::max<std::int64_t>(0, layout.width - length)),
                         ' ');
  return layout.left ? text.append(fill) : JinjaText(fill).append(text);
}

JinjaText converted(JinjaHeap& heap, char kind, const Layout& layout, const JinjaValue& value) {
  if (kind == 's' || kind == 'r') {
    JinjaText text;
    if (kind == 's') text = as_text(heap, value);
    if (kind == 'r') append_repr(heap, value, text);
    if (layout.precision >= 0) {
      const auto most = static_cast<std::size_t>(layout.precision);
      text = text.part(0, byte_of_character(text.bytes(), most));
    }
    return laid_out(std::move(text), layout);
  }
  if (std::string_view("dixXofFeg").find(kind) == std::string_view::npos) {
    jinja_fault(fmt::format("the format %{} is not supported", kind));
  }
  bool negative = false;
  std::string digits = number_text(kind, layout, value, negative);
  const std::string sign = negative ? "-" : layout.plus ? "+" : layout.space ? " " : "";
  const auto room = layout.width - static_cast<std::int64_t>(digits.size() + sign.size());
  if (layout.zero && !layout.left && room > 0)
    digits.insert(0, static_cast<std::size_t>(room), '0');
  return laid_out(JinjaText(sign + digits), layout);
}

const JinjaValue& named(const JinjaArguments& values, std::string_view name) {
  for (const auto& [known, value] : values.named) {
    if (known == name) return value;
  }
  jinja_fault(fmt::format("a format asks for '{}', which it was not given", name));
}

const JinjaValue& numbered(const JinjaArguments& values, std::size_t index) {
  if (index < values.positional.size()) return values.positional[index];
  jinja_fault("a format asks for more values than it was given");
}

}  // namespace

JinjaText format_percent(JinjaHeap& heap, const JinjaText& pattern, const JinjaArguments& values) {
  const std::string& bytes = pattern.bytes();
  JinjaText out;
  std::size_t at = 0, used = 0;
  for (std::size_t mark; (mark = bytes.find('%', at)) != std::string::npos;) {
    heap.step();
    out.append(pattern, at, mark);
    at = mark + 1;
    std::string name;
    if (at < bytes.size() && bytes[at] == '(') {
      const std::size_t end = std::min(bytes.find(')', at), bytes.size());
      name = bytes.substr(at + 1, end - at - 1);
      at = std::min(end + 1, bytes.size());
    }
    const Layout layout = read_layout(bytes, at);
    if (at >= bytes.size()) jinja_fault("a format is incomplete");
    const char kind = bytes[at++];
    if (kind == '%') {
      out.append("%");
      continue;
    }
    const JinjaValue& value = name.empty() ? numbered(values, used++) : named(values, name);
    out.append(converted(heap, kind, layout, value));
    heap.take(out.size());
  }
  if (used < values.positional.size() && values.named.empty()) {
    jinja_fault("a format was given more values than it asks for");
  }
  return out.append(pattern, at, bytes.size());
}

JinjaText format_braces(JinjaHeap& heap, const JinjaText& pattern, const JinjaArguments& values) {
  const std::string& bytes = pattern.bytes();
  JinjaText out;
  std::size_t at = 0, used = 0;
  for (std::size_t mark; (mark = bytes.find_first_of("{}", at)) != std::string::npos;) {
    heap.step();
    out.append(pattern, at, mark);
    if (mark + 1 < bytes.size() && bytes[mark + 1] == bytes[mark]) {
      out.append(pattern, mark, mark + 1);
      at = mark + 2;
      continue;
    }
    const std::size_t end = bytes.find('}', mark);
    if (bytes[mark] == '}' || end == std::string::npos) jinja_fault("format() has a single brace");
    const std::string name = bytes.substr(mark + 1, end - mark - 1);
    if (name.find_first_of("{.[:!") != std::string::npos) {
      jinja_fault("format() takes {}, {0} and {name} alone");
    }
    std::size_t digits = 0;
    const auto index = static_cast<std::size_t>(read_count(name, digits));
    const bool is_number = digits == name.size();
    const JinjaValue& value =
        !is_number ? named(values, name) : numbered(values, name.empty() ? used++ : index);
    out.append(as_text(heap, value));
    heap.take(out.size());
    at = end + 1;
  }
  return out.append(pattern, at, bytes.size());
}

}  // namespace blip2
