#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "blip2/chat/jinja_call_internal.h"

namespace blip2 {
namespace {

[[noreturn]] void cannot(const std::string& sign, const JinjaValue& a, const JinjaValue& b) {
  jinja_fault(fmt::format("cannot compute {} {} {}", type_name(a), sign, type_name(b)));
}

std::int64_t checked(bool overflows, std::int64_t value) {
  if (overflows) jinja_fault("an integer has more than 64 bits");
  return value;
}

std::int64_t floor_quotient(std::int64_t a, std::int64_t b) {
  const std::int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

std::int64_t whole_power(std::int64_t base, std::int64_t exponent) {
  std::int64_t power = 1;
  for (; exponent > 0; exponent /= 2) {
    std::int64_t next = 0;
    bool overflows = exponent % 2 == 1 && __builtin_mul_overflow(power, base, &next);
    if (exponent % 2 == 1) power = checked(overflows, next);
    overflows = exponent > 1 && __builtin_mul_overflow(base, base, &next);
    if (exponent > 1) base = checked(overflows, next);
  }
  return power;
}

JinjaValue compute_whole(const std::string& sign, std::int64_t a, std::int64_t b) {
  if (sign == "+" || sign == "-" || sign == "*") {
    std::int64_t result = 0;
    const bool overflows = sign == "+"   ? __builtin_add_overflow(a, b, &result)
                           : sign == "-" ? __builtin_sub_overflow(a, b, &result)
                                         : __builtin_mul_overflow(a, b, &result);
    return checked(overflows, result);
  }
  if (sign == "**") {
    if (b < 0) return std::pow(static_cast<double>(a), static_cast<double>(b));
    return whole_power(a, b);
  }
  if (b == 0) jinja_fault("a division by zero");
  if (sign == "/") return static_cast<double>(a) / static_cast<double>(b);
  if (b == -1) return sign == "//" ? compute_whole("-", 0, a) : JinjaValue(std::int64_t{0});
  const std::int64_t quotient = floor_quotient(a, b);
  return sign == "//" ? quotient : a - quotient * b;
}

JinjaValue compute_real(const std::string& sign, double a, double b) {
  if (sign == "+") return a + b;
  if (sign == "-") return a - b;
  if (sign == "*") return a * b;
  if (sign == "**") return std::pow(a, b);
  if (b == 0) jinja_fault("a division by zero");
  if (sign == "/") return a / b;
  if (sign == "//") return std::floor(a / b);
  const double rest = std::fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

JinjaValue joined(JinjaHeap& heap, const JinjaText& a, const JinjaText& b) {
  heap.take(a.size() + b.size());
  JinjaText out;
  return heap.text(std::move(out.append(a).append(b)));
}

// a + b, which escapes the other one if one is safe.
JinjaValue added(JinjaHeap& heap, const JinjaText& a, const JinjaText& b) {
  if (!a.is_safe() && !b.is_safe()) return joined(heap, a, b);
  heap.take(6 * (a.size() + b.size()));
  JinjaText out;
  return heap.text(out.append(escaped(a)).append(escaped(b)).mark_safe());
}

JinjaValue repeated(JinjaHeap& heap, const JinjaValue& value, std::int64_t times) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(0, times));
  const auto room = [&](std::size_t size) {  // asks for the memory before it is used
    heap.take(size != 0 && count > heap.limits().bytes / size ? heap.limits().bytes + 1
                                                              : size * count);
  };
  if (const JinjaText* text = text_in(value)) {
    room(text->size() + text->typed().size() * sizeof(TextStretch));
    JinjaText out;
    for (std::size_t i = 0; i < count && !text->empty(); ++i) out.append(*text);
    return heap.text(out.mark_safe(text->is_safe()));
  }
  const JinjaList& list = *as<JinjaList*>(value);
  room(list.items.size() * sizeof(JinjaValue));
  std::vector<JinjaValue> items;
  for (std::size_t i = 0; i < count && !list.items.empty(); ++i) {
    items.insert(items.end(), list.items.begin(), list.items.end());
  }
  return heap.list(std::move(items), list.kind);
}

bool is_plain_list(const JinjaValue& value) {
  const JinjaList* list = as<JinjaList*>(value);
  return list && (list->kind == JinjaList::Kind::list || list->kind == JinjaList::Kind::tuple);
}

JinjaValue compute_lists(JinjaHeap& heap, const std::string& sign, const JinjaValue& a,
                         const JinjaValue& b) {
  const JinjaList *left = as<JinjaList*>(a), *right = as<JinjaList*>(b);
  if (sign != "+" || left->kind != right->kind) cannot(sign, a, b);
  std::vector<JinjaValue> items = left->items;
  items.insert(items.end(), right->items.begin(), right->items.end());
  return heap.list(std::move(items), left->kind);
}

JinjaArguments percent_values(const JinjaValue& value) {
  JinjaArguments arguments;
  const JinjaList* list = as<JinjaList*>(value);
  if (list && list->kind == JinjaList::Kind::tuple) {
    arguments.positional = list->items;
  } else if (const JinjaDict* dict = as<JinjaDict*>(value)) {
    for (const auto& [key, entry] : dict->entries) {
      if (const JinjaText* name = text_in(key)) arguments.named.emplace_back(name->bytes(), entry);
    }
  } else {
    arguments.positional = {value};
  }
  return arguments;
}

}  // namespace

JinjaValue apply_operator(JinjaHeap& heap, const std::string& sign, const JinjaValue& a,
                          const JinjaValue& b) {
  if (sign == "~") return joined(heap, as_text(heap, a), as_text(heap, b));
  for (const JinjaValue* side : {&a, &b}) {
    if (const auto* undefined = std::get_if<JinjaUndefined>(side)) jinja_fault(*undefined->why);
  }
  const JinjaText *left = text_in(a), *right = text_in(b);
  if (left && sign == "%") return heap.text(format_percent(heap, *left, percent_values(b)));
  if (left && right && sign == "+") return added(heap, *left, *right);
  const auto x = whole_number(a), y = whole_number(b);
  if (sign == "*" && y && (left || is_plain_list(a))) return repeated(heap, a, *y);
  if (sign == "*" && x && (right || is_plain_list(b))) return repeated(heap, b, *x);
  if (x && y) return compute_whole(sign, *x, *y);
  if (const auto p = number(a), q = number(b); p && q) return compute_real(sign, *p, *q);
  if (is_plain_list(a) && is_plain_list(b)) return compute_lists(heap, sign, a, b);
  cannot(sign, a, b);
}

bool compare_values(JinjaHeap& heap, const std::string& sign, const JinjaValue& a,
                    const JinjaValue& b) {
  if (sign == "==") return equal(heap, a, b);
  if (sign == "!=") return !equal(heap, a, b);
  if (sign == "in") return contains(heap, b, a);
  if (sign == "not in") return !contains(heap, b, a);
  for (const JinjaValue* side : {&a, &b}) {
    if (const auto* undefined = std::get_if<JinjaUndefined>(side)) jinja_fault(*undefined->why);
  }
  const auto p = number(a), q = number(b);
  if (p && q && (std::isnan(*p) || std::isnan(*q))) return false;
  const int sense = order(heap, a, b);
  if (sign == "<") return sense < 0;
  if (sign == "<=") return sense <= 0;
  return sign == ">" ? sense > 0 : sense >= 0;
}

}  // namespace blip2
