#include <algorithm>
#include <array>

#include "blip2/chat/jinja_call_internal.h"

namespace blip2 {
namespace {

constexpr auto kDictMethods =
    std::to_array<std::string_view>({"copy", "get", "items", "keys", "values"});
constexpr auto kListMethods = std::to_array<std::string_view>({"copy", "count", "index"});

JinjaValue view(JinjaHeap& heap, const JinjaDict& dict, const std::string& name) {
  std::vector<JinjaValue> items;
  for (const auto& [key, value] : dict.entries) {
    items.push_back(name == "keys"     ? key
                    : name == "values" ? value
                                       : heap.list({key, value}, JinjaList::Kind::tuple));
  }
  return heap.list(std::move(items), JinjaList::Kind::view);
}

JinjaValue call_dict(JinjaHeap& heap, const std::string& name, const JinjaDict& dict,
                     const JinjaArguments& arguments) {
  if (name == "get") {
    const JinjaBound bound(name, arguments, {"key", "default"});
    if (const JinjaValue* found = find_entry(heap, dict, bound.need(0))) return *found;
    return bound.find(1) ? *bound.find(1) : JinjaNone{};
  }
  const JinjaBound none(name, arguments, {});
  if (name != "copy") return view(heap, dict, name);
  JinjaDict* copy = heap.dict();
  for (const auto& [key, value] : dict.entries) heap.set(*copy, key, value);
  return copy;
}

JinjaValue call_list(JinjaHeap& heap, const std::string& name, const JinjaList& list,
                     const JinjaArguments& arguments) {
  if (name == "copy") return heap.list(list.items, list.kind);
  const JinjaValue value = JinjaBound(name, arguments, {"value"}).need(0);
  std::int64_t times = 0;
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (!equal(heap, list.items[i], value)) continue;
    if (name == "index") return static_cast<std::int64_t>(i);
    ++times;
  }
  if (name == "index") jinja_fault("index() did not find the value");
  return times;
}

// loop.cycle and loop.changed.
JinjaValue call_loop(JinjaHeap& heap, const std::string& name, const JinjaLoop& loop,
                     const JinjaArguments& arguments) {
  const std::vector<JinjaValue>& given = arguments.positional;
  if (name == "cycle") {
    if (given.empty()) jinja_fault("cycle() needs a value");
    return given[loop.index % given.size()];
  }
  const bool same = loop.seen->size() == given.size() &&
                    std::equal(given.begin(), given.end(), loop.seen->begin(),
                               [&](const auto& a, const auto& b) { return equal(heap, a, b); });
  const bool first = loop.index == 0 && loop.seen->empty();
  *loop.seen = given;
  return first || !same;
}

}  // namespace

bool has_method(const JinjaValue& value, std::string_view name) {
  if (text_in(value)) return has_text_method(name);
  if (as<JinjaDict*>(value)) return std::ranges::find(kDictMethods, name) != kDictMethods.end();
  const JinjaList* list = as<JinjaList*>(value);
  const bool has_any =
      list && (list->kind == JinjaList::Kind::list || list->kind == JinjaList::Kind::tuple);
  return has_any && std::ranges::find(kListMethods, name) != kListMethods.end();
}

JinjaValue call_method(JinjaHeap& heap, const JinjaCallable& method,
                       const JinjaArguments& arguments) {
  if (const JinjaText* text = text_in(method.subject)) {
    return call_text_method(heap, method.name, *text, arguments);
  }
  if (const JinjaDict* dict = as<JinjaDict*>(method.subject)) {
    return call_dict(heap, method.name, *dict, arguments);
  }
  if (const JinjaList* list = as<JinjaList*>(method.subject)) {
    return call_list(heap, method.name, *list, arguments);
  }
  return call_loop(heap, method.name, *as<const JinjaLoop*>(method.subject), arguments);
}

}  // namespace blip2
