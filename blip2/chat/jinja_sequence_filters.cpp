#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "blip2/chat/jinja_call_internal.h"

namespace blip2 {
namespace {

using H = JinjaHeap&;
using V = const JinjaValue&;
using A = const JinjaArguments&;
using Items = std::vector<JinjaValue>;

const std::string kDot = ".", kComma = ",";

// The items of a value; none of an undefined one or None, which these filters let pass.
const Items& items_of(H heap, V value, bool none_is_empty = false) {
  static const Items none;
  if (none_is_empty && is_none(value)) return none;
  const Items& items = iterate(heap, value)->items;
  heap.step(items.size());
  return items;
}

JinjaValue lazy(H heap, Items items) {
  return heap.list(std::move(items), JinjaList::Kind::generator);
}

// What "a.b.0" names within a value, as Jinja's make_attrgetter.
JinjaValue attribute_of(H heap, JinjaValue value, V attribute) {
  if (const auto index = whole_number(attribute)) return place_of(heap, value, *index);
  const JinjaText* name = text_in(attribute);
  if (!name) jinja_fault("an attribute must be a string or an integer");
  for (const JinjaText& part : split_text(*name, &kDot, -1, false)) {
    std::int64_t index = 0;
    const std::string& bytes = part.bytes();
    const auto read = std::from_chars(bytes.data(), bytes.data() + bytes.size(), index);
    const bool whole = !bytes.empty() && read.ptr == bytes.data() + bytes.size();
    value = place_of(heap, value, whole ? JinjaValue(index) : heap.text(part));
  }
  return value;
}

JinjaArguments behind(A arguments, std::size_t count) {
  JinjaArguments rest{{}, arguments.named};
  rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(count),
                         arguments.positional.end());
  return rest;
}

const std::string& name_in(V value) {
  const JinjaText* name = text_in(value);
  if (!name) jinja_fault("expected the name of a filter or a test");
  return name->bytes();
}

// select, reject, selectattr and rejectattr.
JinjaValue selected(H heap, V value, A arguments, bool of_attribute, bool wanted) {
  const std::size_t first = of_attribute ? 1 : 0;
  if (arguments.positional.size() < first) jinja_fault("selectattr() needs an attribute");
  const bool has_test = arguments.positional.size() > first;
  const JinjaArguments rest = has_test ? behind(arguments, first + 1) : JinjaArguments{};
  Items kept;
  for (const JinjaValue& item : items_of(heap, value, true)) {
    const JinjaValue tested =
        of_attribute ? attribute_of(heap, item, arguments.positional[0]) : item;
    const bool holds = has_test
                           ? apply_test(heap, name_in(arguments.positional[first]), tested, rest)
                           : is_true(tested);
    if (holds == wanted) kept.push_back(item);
  }
  return lazy(heap, std::move(kept));
}

template <bool of_attribute, bool wanted>
JinjaValue select(H heap, V value, A arguments) {
  return selected(heap, value, arguments, of_attribute, wanted);
}

JinjaValue map(H heap, V value, A arguments) {
  Items mapped;
  if (!arguments.positional.empty()) {
    const JinjaArguments rest = behind(arguments, 1);
    const std::string& name = name_in(arguments.positional[0]);
    for (const JinjaValue& item : items_of(heap, value, true)) {
      mapped.push_back(apply_filter(heap, name, item, rest));
    }
    return lazy(heap, std::move(mapped));
  }
  const JinjaBound bound("map", arguments, {"attribute", "default"});
  for (const JinjaValue& item : items_of(heap, value, true)) {
    JinjaValue found = attribute_of(heap, item, bound.need(0));
    if (is_undefined(found) && bound.find(1)) found = *bound.find(1);
    mapped.push_back(found);
  }
  return lazy(heap, std::move(mapped));
}

JinjaValue join(H heap, V value, A arguments) {
  const JinjaBound bound("join", arguments, {"d", "attribute"});
  const JinjaText separator = bound.find(0) ? as_text(heap, *bound.find(0)) : JinjaText();
  JinjaText out;
  bool first = true;
  for (const JinjaValue& item : items_of(heap, value)) {
    const JinjaText part =
        as_text(heap, bound.find(1) ? attribute_of(heap, item, *bound.find(1)) : item);
    heap.take(separator.size() + part.size());
    if (!first) out.append(separator);
    out.append(part);
    first = false;
  }
  return heap.text(std::move(out));
}

JinjaValue first_item(H heap, V value, A) {
  if (JinjaList* list = as<JinjaList*>(value); list && list->kind == JinjaList::Kind::generator) {
    if (list->items.empty()) return heap.undefined("there is no first item");
    const JinjaValue first = list->items.front();
    heap.step(list->items.size());
    list->items.erase(list->items.begin());
    return first;
  }
  const Items& items = items_of(heap, value);
  return items.empty() ? heap.undefined("there is no first item") : items.front();
}

void need_ends(V value) {
  const JinjaList* list = as<JinjaList*>(value);
  if (list && list->kind == JinjaList::Kind::generator) jinja_fault("a generator has no last item");
}

JinjaValue last_item(H heap, V value, A) {
  need_ends(value);
  const Items& items = items_of(heap, value);
  return items.empty() ? heap.undefined("there is no last item") : items.back();
}

JinjaValue reverse(H heap, V value, A) {
  if (text_in(value)) return slice_of(heap, value, {std::nullopt, std::nullopt, -1});
  Items items = items_of(heap, value);
  std::reverse(items.begin(), items.end());
  const JinjaList* list = as<JinjaList*>(value);
  const bool was_lazy = list && list->kind == JinjaList::Kind::generator;
  return was_lazy ? heap.list(std::move(items)) : lazy(heap, std::move(items));
}

JinjaValue pairs(H heap, V value, A) {
  Items items;
  const JinjaDict* dict = as<JinjaDict*>(value);
  if (!dict && !is_undefined(value)) jinja_fault("items() needs a mapping");
  for (std::size_t i = 0; dict && i < dict->entries.size(); ++i) {
    const auto& [key, entry] = dict->entries[i];
    items.push_back(heap.list({key, entry}, JinjaList::Kind::tuple));
  }
  return lazy(heap, std::move(items));
}

// What Jinja sorts by: strings in lower case unless the case counts.
JinjaValue sort_key(H heap, V value, bool case_sensitive) {
  const JinjaText* text = text_in(value);
  if (!text || case_sensitive) return value;
  return heap.text(to_lower_text(*text));
}

struct Keyed {
  JinjaValue key, item;
};

Items sorted(H heap, std::vector<Keyed> keyed, bool reverse) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? order(heap, b.key, a.key) < 0 : order(heap, a.key, b.key) < 0;
  });
  Items items;
  for (const Keyed& one : keyed) items.push_back(one.item);
  return items;
}

// A sort's key with several attributes ("a,b") is a list of them.
JinjaValue key_of(H heap, V item, const JinjaValue* attribute, bool case_sensitive) {
  if (!attribute || is_none(*attribute)) return sort_key(heap, item, case_sensitive);
  const JinjaText* names = text_in(*attribute);
  if (!names) return sort_key(heap, attribute_of(heap, item, *attribute), case_sensitive);
  Items keys;
  for (const JinjaText& name : split_text(*names, &kComma, -1, false)) {
    keys.push_back(sort_key(heap, attribute_of(heap, item, heap.text(name)), case_sensitive));
  }
  return heap.list(std::move(keys));
}

JinjaValue sort(H heap, V value, A arguments) {
  const JinjaBound bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  std::vector<Keyed> keyed;
  for (const JinjaValue& item : items_of(heap, value)) {
    keyed.push_back({key_of(heap, item, bound.find(2), bound.flag(1, false)), item});
  }
  return heap.list(sorted(heap, std::move(keyed), bound.flag(0, false)));
}

JinjaValue dict_sort(H heap, V value, A arguments) {
  const JinjaBound bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const JinjaDict* dict = as<JinjaDict*>(value);
  if (!dict) jinja_fault("dictsort() needs a mapping, got a value of type " + type_name(value));
  const std::string by = bound.find_text(1) ? bound.find_text(1)->bytes() : "key";
  if (by != "key" && by != "value") jinja_fault("dictsort() sorts by key or by value");
  std::vector<Keyed> keyed;
  for (const auto& [key, entry] : dict->entries) {
    keyed.push_back({sort_key(heap, by == "key" ? key : entry, bound.flag(0, false)),
                     heap.list({key, entry}, JinjaList::Kind::tuple)});
  }
  return heap.list(sorted(heap, std::move(keyed), bound.flag(2, false)));
}

JinjaValue unique(H heap, V value, A arguments) {
  const JinjaBound bound("unique", arguments, {"case_sensitive", "attribute"});
  Items kept;
  JinjaDict* seen = heap.dict();
  for (const JinjaValue& item : items_of(heap, value)) {
    const JinjaValue key = key_of(heap, item, bound.find(1), bound.flag(0, false));
    const JinjaList* list = as<JinjaList*>(key);
    const JinjaValue hashed = list ? heap.list(list->items, JinjaList::Kind::tuple) : key;
    if (find_entry(heap, *seen, hashed)) continue;
    heap.set(*seen, hashed, true);
    kept.push_back(item);
  }
  return lazy(heap, std::move(kept));
}

template <bool largest>
JinjaValue extreme(H heap, V value, A arguments) {
  const JinjaBound bound("min or max", arguments, {"case_sensitive", "attribute"});
  std::optional<Keyed> best;
  for (const JinjaValue& item : items_of(heap, value)) {
    const JinjaValue attribute =
        bound.find(1) && !is_none(*bound.find(1)) ? attribute_of(heap, item, *bound.find(1)) : item;
    const JinjaValue key = sort_key(heap, attribute, bound.flag(0, false));
    const int sense = best ? order(heap, key, best->key) : 0;
    if (!best || (largest ? sense > 0 : sense < 0)) best = Keyed{key, item};
  }
  return best ? best->item : heap.undefined("the sequence was empty");
}

JinjaValue sum(H heap, V value, A arguments) {
  const JinjaBound bound("sum", arguments, {"attribute", "start"});
  JinjaValue total = bound.find(1) ? *bound.find(1) : JinjaValue(std::int64_t{0});
  for (const JinjaValue& item : items_of(heap, value)) {
    const bool by = bound.find(0) && !is_none(*bound.find(0));
    total = apply_operator(heap, "+", total, by ? attribute_of(heap, item, *bound.find(0)) : item);
  }
  return total;
}

JinjaValue as_list(H heap, V value, A) {
  return heap.list(items_of(heap, value));
}

constexpr std::pair<std::string_view, JinjaFilter> kSequenceFilters[] = {
    {"dictsort", dict_sort},
    {"first", first_item},
    {"items", pairs},
    {"join", join},
    {"last", last_item},
    {"list", as_list},
    {"map", map},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", select<false, false>},
    {"rejectattr", select<true, false>},
    {"reverse", reverse},
    {"select", select<false, true>},
    {"selectattr", select<true, true>},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
};

}  // namespace

JinjaFilter sequence_filter(std::string_view name) {
  const auto found =
      std::ranges::find(kSequenceFilters, name, [](const auto& filter) { return filter.first; });
  return found == std::end(kSequenceFilters) ? nullptr : found->second;
}

}  // namespace blip2
