#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "blip2/chat/jinja_call_internal.h"
#include "blip2/chat/jinja_json_internal.h"

namespace blip2 {
namespace {

using H = JinjaHeap&;
using V = const JinjaValue&;
using A = const JinjaArguments&;

JinjaValue default_filter(H heap, V value, A arguments) {
  const JinjaBound bound("default", arguments, {"default_value", "boolean"});
  const bool missing = is_undefined(value) || (bound.flag(1, false) && !is_true(value));
  if (!missing) return value;
  return bound.find(0) ? *bound.find(0) : heap.own("");
}

JinjaValue trim(H heap, V value, A arguments) {
  const JinjaText* characters = JinjaBound("trim", arguments, {"chars"}).find_text(0);
  const JinjaText text = as_text(heap, value);
  heap.search(text.size(), characters ? characters->size() : 0);
  JinjaText out = stripped(text, characters ? &characters->bytes() : nullptr, {});
  return heap.text(out.mark_safe(text.is_safe()));
}

JinjaValue replace(H heap, V value, A arguments) {
  const JinjaBound bound("replace", arguments, {"old", "new", "count"});
  const auto plain = [&](V from) { return as_text(heap, from).mark_safe(false); };
  const JinjaArguments texts{
      {heap.text(plain(bound.need(0))), heap.text(plain(bound.need(1))), bound.whole(2, -1)}, {}};
  return call_text_method(heap, "replace", plain(value), texts);
}

// Jinja's own title: words between white space and - ( { [ <.
JinjaValue title(H heap, V value, A) {
  const JinjaText text = as_text(heap, value);
  JinjaText out;
  std::size_t word = 0;
  const auto add_word = [&](std::size_t end) {
    const std::size_t rest =
        word + byte_of_character(std::string_view(text.bytes()).substr(word, end - word), 1);
    out.append(to_upper_text(text.part(word, rest)));
    out.append(to_lower_text(text.part(rest, end)));
  };
  text.each_character([&](char32_t c, std::size_t begin, std::size_t end, bool typed) {
    const bool cuts =
        is_python_space(c) || (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) !=
                                               std::string_view::npos);
    if (!cuts) return;
    add_word(begin);
    out.append(std::string_view(text.bytes()).substr(begin, end - begin), typed);
    word = end;
  });
  add_word(text.size());
  return heap.text(std::move(out));
}

JinjaValue escape(H heap, V value, A) {
  return heap.text(escaped(as_text(heap, value)));
}

JinjaValue indent(H heap, V value, A arguments) {
  const JinjaBound bound("indent", arguments, {"width", "first", "blank"});
  const JinjaText* given = bound.find(0) ? text_in(*bound.find(0)) : nullptr;
  const std::int64_t width = given ? 0 : std::clamp<std::int64_t>(bound.whole(0, 4), 0, 10'000);
  const JinjaText margin =
      given ? *given : JinjaText(std::string(static_cast<std::size_t>(width), ' '));
  const bool blank = bound.flag(2, false);
  const JinjaText text = as_text(heap, value).append("\n");
  JinjaText out;
  if (bound.flag(1, false)) out.append(margin);
  const std::vector<JinjaText> lines = split_lines(text, false);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    heap.take(lines[i].size() + margin.size() + 1);
    if (i > 0) out.append("\n");
    if (i > 0 && (blank || !lines[i].empty())) out.append(margin);
    out.append(lines[i]);
  }
  return heap.text(out.mark_safe(text.is_safe()));
}

// Python's float() of a string; nullopt if it is none.
std::optional<double> read_real(const JinjaText& text) {
  std::string digits = stripped(text, nullptr, {}).bytes();
  std::erase(digits, '_');
  if (digits.starts_with('+')) digits.erase(0, 1);
  double value = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool whole = !digits.empty() && read.ptr == digits.data() + digits.size();
  return whole && read.ec == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<std::int64_t> read_whole(const JinjaText& text, int base) {
  std::string digits = stripped(text, nullptr, {}).bytes();
  std::erase(digits, '_');
  if (digits.starts_with('+')) digits.erase(0, 1);
  const std::size_t prefix = digits.starts_with('-') ? 1 : 0;
  const std::string mark = digits.substr(std::min(prefix, digits.size()), 2);
  const bool marked = (base == 16 && (mark == "0x" || mark == "0X")) ||
                      (base == 8 && (mark == "0o" || mark == "0O")) ||
                      (base == 2 && (mark == "0b" || mark == "0B"));
  if (marked) digits.erase(prefix, 2);
  std::int64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto read = std::from_chars(digits.data(), end, value, base);
  const bool whole = !digits.empty() && read.ptr == end;
  return whole && read.ec == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<std::int64_t> truncated(std::optional<double> value) {
  if (!value || !(*value > -9.2e18 && *value < 9.2e18)) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

JinjaValue to_int(H, V value, A arguments) {
  const JinjaBound bound("int", arguments, {"default", "base"});
  if (const auto* undefined = std::get_if<JinjaUndefined>(&value)) jinja_fault(*undefined->why);
  const std::int64_t base = bound.whole(1, 10);
  if (base < 2 || base > 36) jinja_fault("the base of a number must be from 2 to 36");
  std::optional<std::int64_t> whole = whole_number(value);
  if (const JinjaText* text = text_in(value)) {
    whole = read_whole(*text, static_cast<int>(base));
    if (!whole) whole = truncated(read_real(*text));
  } else if (!whole) {
    whole = truncated(number(value));
  }
  if (whole) return *whole;
  return bound.find(0) ? *bound.find(0) : JinjaValue(std::int64_t{0});
}

JinjaValue to_float(H, V value, A arguments) {
  const JinjaBound bound("float", arguments, {"default"});
  if (const auto* undefined = std::get_if<JinjaUndefined>(&value)) jinja_fault(*undefined->why);
  const auto real = text_in(value) ? read_real(*text_in(value)) : number(value);
  if (real) return *real;
  return bound.find(0) ? *bound.find(0) : JinjaValue(0.0);
}

JinjaValue round_filter(H, V value, A arguments) {
  const JinjaBound bound("round", arguments, {"precision", "method"});
  const auto real = number(value);
  if (!real) jinja_fault("round() needs a number, got a value of type " + type_name(value));
  const std::int64_t precision = bound.whole(0, 0);
  if (precision < -300 || precision > 300) jinja_fault("round() takes a precision up to 300");
  const JinjaText* method = bound.find_text(1);
  const std::string name = method ? method->bytes() : "common";
  if (name != "common" && name != "ceil" && name != "floor") {
    jinja_fault("round() has the methods common, ceil and floor");
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (name == "ceil") return std::ceil(*real * scale) / scale;
  if (name == "floor") return std::floor(*real * scale) / scale;
  if (precision >= 0 && whole_number(value)) return *whole_number(value);
  if (precision < 0) return std::nearbyint(*real * scale) / scale;
  return std::strtod(fmt::format("{:.{}f}", *real, static_cast<int>(precision)).c_str(), nullptr);
}

JinjaValue abs_filter(H heap, V value, A) {
  const auto real = number(value);
  if (!real) jinja_fault("abs() needs a number, got a value of type " + type_name(value));
  if (const auto whole = whole_number(value)) {
    return *whole < 0 ? apply_operator(heap, "-", std::int64_t{0}, *whole) : JinjaValue(*whole);
  }
  return std::fabs(*real);
}

JinjaJsonStyle json_style(A arguments) {
  const JinjaBound bound("tojson", arguments,
                         {"ensure_ascii", "indent", "separators", "sort_keys"});
  JinjaJsonStyle style;
  style.ascii = bound.flag(0, false);
  style.sort_keys = bound.flag(3, false);
  if (const JinjaValue* indent = bound.find(1); indent && !is_none(*indent)) {
    const auto width = whole_number(*indent);
    if (width && *width > 1000) jinja_fault("tojson() indents by 1000 at most");
    style.indent =
        width ? std::string(static_cast<std::size_t>(std::max<std::int64_t>(0, *width)), ' ')
              : bound.need_text(1).bytes();
    style.item_separator = ",";
  }
  if (const JinjaValue* given = bound.find(2); given && !is_none(*given)) {
    const JinjaList* both = as<JinjaList*>(*given);
    const bool right =
        both && both->items.size() == 2 && text_in(both->items[0]) && text_in(both->items[1]);
    if (!right) jinja_fault("tojson() needs two strings as separators");
    style.item_separator = text_in(both->items[0])->bytes();
    style.key_separator = text_in(both->items[1])->bytes();
  }
  return style;
}

JinjaValue word_count(H heap, V value, A) {
  std::int64_t words = 0;
  bool within = false;
  as_text(heap, value).each_character([&](char32_t c, std::size_t, std::size_t, bool) {
    words += is_word(c) && !within ? 1 : 0;
    within = is_word(c);
  });
  return words;
}

template <JinjaText (*change)(const JinjaText&)>
JinjaValue changed_text(H heap, V value, A) {
  const JinjaText text = as_text(heap, value);
  return heap.text(change(text).mark_safe(text.is_safe()));
}

JinjaValue plain(H heap, V value, A) {
  return text_in(value) ? value : heap.text(as_text(heap, value));
}

constexpr std::pair<std::string_view, JinjaFilter> kFilters[] = {
    {"abs", abs_filter},
    {"capitalize", changed_text<to_capitalized>},
    {"count", [](H, V v, A) -> JinjaValue { return static_cast<std::int64_t>(length_of(v)); }},
    {"d", default_filter},
    {"default", default_filter},
    {"e", escape},
    {"escape", escape},
    {"float", to_float},
    {"format", [](H h, V v, A a) { return h.text(format_percent(h, as_text(h, v), a)); }},
    {"indent", indent},
    {"int", to_int},
    {"length", [](H, V v, A) -> JinjaValue { return static_cast<std::int64_t>(length_of(v)); }},
    {"lower", changed_text<to_lower_text>},
    {"replace", replace},
    {"round", round_filter},
    {"safe", [](H h, V v, A) { return h.text(as_text(h, v).mark_safe()); }},
    {"string", plain},
    {"title", title},
    {"tojson", [](H h, V v, A a) { return h.text(to_json_text(h, v, json_style(a))); }},
    {"trim", trim},
    {"upper", changed_text<to_upper_text>},
    {"wordcount", word_count},
};

}  // namespace

JinjaValue apply_filter(JinjaHeap& heap, const std::string& name, const JinjaValue& subject,
                        const JinjaArguments& arguments) {
  heap.step();
  if (const JinjaText* text = text_in(subject)) heap.take(text->size());
  const auto found =
      std::ranges::find(kFilters, name, [](const auto& filter) { return filter.first; });
  if (found != std::end(kFilters)) return found->second(heap, subject, arguments);
  const JinjaFilter several = sequence_filter(name);
  if (!several) jinja_fault(fmt::format("there is no filter '{}'", name));
  return several(heap, subject, arguments);
}

}  // namespace blip2
