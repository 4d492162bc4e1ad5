#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "blip2/chat/jinja_call_internal.h"

namespace blip2 {
namespace {

// Methods that change what they belong to.
constexpr auto kMutators =
    std::to_array<std::string_view>({"append", "extend", "insert", "pop", "remove", "clear",
                                     "reverse", "sort", "update", "setdefault", "popitem"});

JinjaValue no_member(JinjaHeap& heap, const JinjaValue& value, const std::string& name) {
  const bool container = as<JinjaList*>(value) || as<JinjaDict*>(value);
  if (container && std::ranges::find(kMutators, name) != kMutators.end()) {
    return heap.undefined(fmt::format("a template may not change a value ('{}')", name));
  }
  return heap.undefined(fmt::format("a value of type {} has no '{}'", type_name(value), name));
}

JinjaValue loop_member(JinjaHeap& heap, const JinjaValue& value, const std::string& name) {
  const JinjaLoop& loop = *as<const JinjaLoop*>(value);
  const auto& items = loop.items->items;
  const auto index = static_cast<std::int64_t>(loop.index);
  const auto length = static_cast<std::int64_t>(items.size());
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "revindex") return length - index;
  if (name == "revindex0") return length - index - 1;
  if (name == "first") return index == 0;
  if (name == "last") return index + 1 == length;
  if (name == "length") return length;
  if (name == "depth") return loop.depth;
  if (name == "depth0") return loop.depth - 1;
  if (name == "previtem") {
    return index > 0 ? items[loop.index - 1] : heap.undefined("there is no previous item");
  }
  if (name == "nextitem") {
    return index + 1 < length ? items[loop.index + 1] : heap.undefined("there is no next item");
  }
  if (name == "cycle" || name == "changed") {
    return heap.callable({JinjaCallable::Kind::method, name, value});
  }
  return no_member(heap, value, name);
}

// The place in a list of `size` that a Python index means.
std::optional<std::size_t> place_in(std::size_t size, std::int64_t index) {
  const auto length = static_cast<std::int64_t>(size);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return std::nullopt;
  return static_cast<std::size_t>(index);
}

std::optional<JinjaValue> item_at(JinjaHeap& heap, const JinjaValue& value, std::int64_t index) {
  if (const JinjaText* text = text_in(value)) {
    heap.search(text->size(), 8);
    const auto place = place_in(count_characters(text->bytes()), index);
    if (!place) return std::nullopt;
    const std::size_t begin = byte_of_character(text->bytes(), *place);
    const std::size_t bytes = decode_utf8(std::string_view(text->bytes()).substr(begin)).bytes;
    return heap.text(text->part(begin, begin + bytes).mark_safe(text->is_safe()));
  }
  const JinjaList* list = as<JinjaList*>(value);
  const bool has_places =
      list && list->kind != JinjaList::Kind::view && list->kind != JinjaList::Kind::generator;
  if (!has_places) return std::nullopt;
  const auto place = place_in(list->items.size(), index);
  return place ? std::optional(list->items[*place]) : std::nullopt;
}

// The places that a Python slice takes, in its order.
std::vector<std::size_t> slice_places(std::size_t size, const JinjaSlice& slice) {
  const auto length = static_cast<std::int64_t>(size);
  const std::int64_t step = slice.step.value_or(1);
  if (step == 0) jinja_fault("the step of a slice is 0");
  const auto bound = [&](std::optional<std::int64_t> given, std::int64_t fallback) {
    if (!given) return fallback;
    const std::int64_t at = *given < 0 ? *given + length : *given;
    return step > 0 ? std::clamp<std::int64_t>(at, 0, length)
                    : std::clamp<std::int64_t>(at, -1, length - 1);
  };
  std::vector<std::size_t> places;
  const std::int64_t stop = bound(slice.stop, step > 0 ? length : -1);
  std::int64_t at = bound(slice.start, step > 0 ? 0 : length - 1);
  const std::int64_t stride = std::clamp<std::int64_t>(step, -length - 1, length + 1);
  for (; stride > 0 ? at < stop : at > stop; at += stride) {
    places.push_back(static_cast<std::size_t>(at));
  }
  return places;
}

JinjaText text_slice(const JinjaText& text, const JinjaSlice& slice) {
  std::vector<std::size_t> begins;
  text.each_character(
      [&](char32_t, std::size_t begin, std::size_t, bool) { begins.push_back(begin); });
  begins.push_back(text.size());
  const std::vector<std::size_t> places = slice_places(begins.size() - 1, slice);
  if (places.empty()) return {};
  if (slice.step.value_or(1) == 1)
    return text.part(begins[places.front()], begins[places.back() + 1]);
  JinjaText out;
  for (const std::size_t place : places) out.append(text, begins[place], begins[place + 1]);
  return out;
}

}  // namespace

JinjaValue member_of(JinjaHeap& heap, const JinjaValue& value, const std::string& name) {
  if (const auto* undefined = std::get_if<JinjaUndefined>(&value)) jinja_fault(*undefined->why);
  if (name.starts_with("__")) {
    jinja_fault(fmt::format("the template asks for '{}', which it may not have", name));
  }
  if (as<const JinjaLoop*>(value)) return loop_member(heap, value, name);
  if (const JinjaNamespace* space = as<JinjaNamespace*>(value)) {
    heap.scan(space->members.size());
    for (const auto& [known, member] : space->members) {
      if (known == name) return member;
    }
    return no_member(heap, value, name);
  }
  if (has_method(value, name)) return heap.callable({JinjaCallable::Kind::method, name, value});
  if (const JinjaDict* dict = as<JinjaDict*>(value)) {
    const auto found = dict->by_name.find(name);
    if (found != dict->by_name.end()) return dict->entries[found->second].second;
  }
  return no_member(heap, value, name);
}

JinjaValue place_of(JinjaHeap& heap, const JinjaValue& value, const JinjaValue& place) {
  if (const auto* undefined = std::get_if<JinjaUndefined>(&value)) jinja_fault(*undefined->why);
  if (const JinjaDict* dict = as<JinjaDict*>(value)) {
    if (const JinjaValue* found = find_entry(heap, *dict, place)) return *found;
  } else if (const auto index = whole_number(place)) {
    if (auto item = item_at(heap, value, *index)) return *item;
  }
  if (const JinjaText* name = text_in(place)) return member_of(heap, value, name->bytes());
  return no_member(heap, value, as_text(heap, place).bytes());
}

JinjaValue slice_of(JinjaHeap& heap, const JinjaValue& value, const JinjaSlice& slice) {
  if (const auto* undefined = std::get_if<JinjaUndefined>(&value)) jinja_fault(*undefined->why);
  if (const JinjaText* text = text_in(value)) {
    heap.take(8 * text->size());
    return heap.text(text_slice(*text, slice).mark_safe(text->is_safe()));
  }
  const JinjaList* list = as<JinjaList*>(value);
  const bool has_places =
      list && list->kind != JinjaList::Kind::view && list->kind != JinjaList::Kind::generator;
  if (!has_places) jinja_fault("a value of type " + type_name(value) + " has no slices");
  std::vector<JinjaValue> items;
  for (const std::size_t place : slice_places(list->items.size(), slice)) {
    items.push_back(list->items[place]);
  }
  heap.step(items.size());
  return heap.list(std::move(items), list->kind);
}

}  // namespace blip2
