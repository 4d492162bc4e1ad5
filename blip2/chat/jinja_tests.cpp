#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "blip2/chat/jinja_call_internal.h"

namespace blip2 {
namespace {

using Test = bool (*)(JinjaHeap&, const JinjaValue&, const JinjaArguments&);
using H = JinjaHeap&;
using V = const JinjaValue&;
using A = const JinjaArguments&;

const JinjaValue& other(A arguments) {
  if (arguments.positional.size() != 1) jinja_fault("the test needs one value to compare with");
  return arguments.positional[0];
}

bool is_boolean(V value) {
  return std::holds_alternative<bool>(value);
}

// value % by, of integers or other numbers.
bool leaves(H heap, V value, std::int64_t by, double rest) {
  const JinjaValue modulus = apply_operator(heap, "%", value, by);
  return number(modulus) && *number(modulus) == rest;
}

bool is_sequence(V value) {
  const JinjaList* list = as<JinjaList*>(value);
  return is_undefined(value) || text_in(value) || as<JinjaDict*>(value) ||
         (list && list->kind != JinjaList::Kind::view && list->kind != JinjaList::Kind::generator);
}

bool is_iterable(V value) {
  return is_undefined(value) || text_in(value) || as<JinjaDict*>(value) || as<JinjaList*>(value);
}

bool has_case(H heap, V value, const char* method) {
  const JinjaText text = as_text(heap, value);
  return is_true(call_text_method(heap, method, text, {}));
}

bool is_same(V a, V b) {
  if (a.index() != b.index()) return false;
  if (const auto* x = std::get_if<std::int64_t>(&a), *y = std::get_if<std::int64_t>(&b); x && y) {
    return *x == *y;
  }
  if (const auto* x = std::get_if<bool>(&a), *y = std::get_if<bool>(&b); x && y) return *x == *y;
  if (text_in(a)) return text_in(a)->bytes() == text_in(b)->bytes();
  return is_none(a) || (as<JinjaList*>(a) && as<JinjaList*>(a) == as<JinjaList*>(b)) ||
         (as<JinjaDict*>(a) && as<JinjaDict*>(a) == as<JinjaDict*>(b)) ||
         (as<JinjaNamespace*>(a) && as<JinjaNamespace*>(a) == as<JinjaNamespace*>(b));
}

template <int which>
bool compares(H heap, V value, A arguments) {
  static constexpr const char* kSigns[] = {"==", "!=", "<", "<=", ">", ">=", "in"};
  return compare_values(heap, kSigns[which], value, other(arguments));
}

constexpr std::pair<std::string_view, Test> kTests[] = {
    {"!=", compares<1>},
    {"<", compares<2>},
    {"<=", compares<3>},
    {"==", compares<0>},
    {">", compares<4>},
    {">=", compares<5>},
    {"boolean", [](H, V v, A) { return is_boolean(v); }},
    {"callable", [](H, V v, A) { return as<const JinjaCallable*>(v) != nullptr; }},
    {"defined", [](H, V v, A) { return !is_undefined(v); }},
    {"divisibleby",
     [](H h, V v, A a) { return leaves(h, v, whole_number(other(a)).value_or(0), 0); }},
    {"eq", compares<0>},
    {"equalto", compares<0>},
    {"even", [](H h, V v, A) { return leaves(h, v, 2, 0); }},
    {"false", [](H, V v, A) { return is_boolean(v) && !std::get<bool>(v); }},
    {"float", [](H, V v, A) { return std::holds_alternative<double>(v); }},
    {"ge", compares<5>},
    {"greaterthan", compares<4>},
    {"gt", compares<4>},
    {"in", compares<6>},
    {"integer", [](H, V v, A) { return std::holds_alternative<std::int64_t>(v); }},
    {"iterable", [](H, V v, A) { return is_iterable(v); }},
    {"le", compares<3>},
    {"lessthan", compares<2>},
    {"lower", [](H h, V v, A) { return has_case(h, v, "islower"); }},
    {"lt", compares<2>},
    {"mapping", [](H, V v, A) { return as<JinjaDict*>(v) != nullptr; }},
    {"ne", compares<1>},
    {"none", [](H, V v, A) { return is_none(v); }},
    {"number", [](H, V v, A) { return number(v).has_value(); }},
    {"odd", [](H h, V v, A) { return leaves(h, v, 2, 1); }},
    {"sameas", [](H, V v, A a) { return is_same(v, other(a)); }},
    {"sequence", [](H, V v, A) { return is_sequence(v); }},
    {"string", [](H, V v, A) { return text_in(v) != nullptr; }},
    {"true", [](H, V v, A) { return is_boolean(v) && std::get<bool>(v); }},
    {"undefined", [](H, V v, A) { return is_undefined(v); }},
    {"upper", [](H h, V v, A) { return has_case(h, v, "isupper"); }},
};

}  // namespace

bool apply_test(JinjaHeap& heap, const std::string& name, const JinjaValue& subject,
                const JinjaArguments& arguments) {
  heap.step();
  const auto found = std::ranges::find(kTests, name, [](const auto& test) { return test.first; });
  if (found == std::end(kTests)) jinja_fault(fmt::format("there is no test '{}'", name));
  return found->second(heap, subject, arguments);
}

}  // namespace blip2
