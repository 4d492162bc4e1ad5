#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "blip2/chat/jinja_heap_internal.h"

namespace blip2 {
namespace {

// What Python's str() makes of a value that is no string and no container.
std::string plain_text(const JinjaValue& value) {
  if (is_undefined(value)) return {};
  if (is_none(value)) return "None";
  if (const auto* truth = std::get_if<bool>(&value)) return *truth ? "True" : "False";
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return std::to_string(*whole);
  if (const auto* real = std::get_if<double>(&value)) return float_repr(*real);
  if (const JinjaLoop* loop = as<const JinjaLoop*>(value)) {
    return fmt::format("<LoopContext {}/{}>", loop->index + 1, loop->items->items.size());
  }
  return "<" + type_name(value) + ">";
}

void append_items(JinjaHeap& heap, const JinjaList& list, JinjaText& out) {
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out.append(", ");
    append_repr(heap, list.items[i], out);
  }
}

void append_list(JinjaHeap& heap, const JinjaList& list, JinjaText& out) {
  const bool tuple = list.kind == JinjaList::Kind::tuple;
  out.append(tuple ? "(" : "[");
  append_items(heap, list, out);
  if (tuple && list.items.size() == 1) out.append(",");
  out.append(tuple ? ")" : "]");
}

void append_dict(JinjaHeap& heap, const JinjaDict& dict, JinjaText& out) {
  out.append("{");
  for (std::size_t i = 0; i < dict.entries.size(); ++i) {
    if (i > 0) out.append(", ");
    append_repr(heap, dict.entries[i].first, out);
    out.append(": ");
    append_repr(heap, dict.entries[i].second, out);
  }
  out.append("}");
}

}  // namespace

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char digits[32];
  const auto written =
      std::to_chars(digits, digits + sizeof digits, value, std::chars_format::scientific);
  const std::string_view text(digits, static_cast<std::size_t>(written.ptr - digits));
  const std::size_t e = text.find('e');
  int exponent = 0;
  const char* first = text.data() + e + (text[e + 1] == '+' ? 2 : 1);
  std::from_chars(first, text.data() + text.size(), exponent);
  if (exponent < -4 || exponent >= 16) return std::string(text);
  const std::size_t point = text.find('.');
  const int behind = point == text.npos ? 0 : static_cast<int>(e - point - 1);
  return fmt::format("{:.{}f}", value, std::max(1, behind - exponent));
}

JinjaText as_text(JinjaHeap& heap, const JinjaValue& value) {
  if (const JinjaText* text = text_in(value)) return *text;
  JinjaText out;
  append_repr(heap, value, out);
  return out;
}

void append_repr(JinjaHeap& heap, const JinjaValue& value, JinjaText& out) {
  heap.step();
  const JinjaHeap::Nesting nesting(heap);
  if (out.size() > heap.limits().output) jinja_fault("the template prints too long a value");
  if (const JinjaText* text = text_in(value)) {
    const std::string quoted = quoted_text(text->bytes());
    out.append(text->is_safe() ? "Markup(" + quoted + ")" : quoted, !text->typed().empty());
  } else if (const JinjaDict* dict = as<JinjaDict*>(value)) {
    append_dict(heap, *dict, out);
  } else if (const JinjaNamespace* space = as<JinjaNamespace*>(value)) {
    out.append(fmt::format("<Namespace of {} members>", space->members.size()));
  } else if (const JinjaList* list = as<JinjaList*>(value);
             list && list->kind != JinjaList::Kind::range &&
             list->kind != JinjaList::Kind::generator) {
    append_list(heap, *list, out);
  } else {
    out.append(plain_text(value));
  }
}

}  // namespace blip2
