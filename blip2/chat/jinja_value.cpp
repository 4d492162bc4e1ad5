#include "blip2/chat/jinja_value_internal.h"

#include <algorithm>
#include <cmath>

#include "blip2/base/error.h"
#include "blip2/chat/jinja_heap_internal.h"

namespace blip2 {
namespace {

bool is_ordered_list(const JinjaList& list) {
  return list.kind == JinjaList::Kind::list || list.kind == JinjaList::Kind::tuple;
}

bool equal_items(JinjaHeap& heap, const JinjaList& a, const JinjaList& b) {
  if (a.kind != b.kind || a.items.size() != b.items.size()) return false;
  for (std::size_t i = 0; i < a.items.size(); ++i) {
    if (!equal(heap, a.items[i], b.items[i])) return false;
  }
  return true;
}

bool equal_entries(JinjaHeap& heap, const JinjaDict& a, const JinjaDict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  return std::ranges::all_of(a.entries, [&](const auto& entry) {
    const JinjaValue* other = find_entry(heap, b, entry.first);
    return other && equal(heap, entry.second, *other);
  });
}

int sign(double a, double b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

[[noreturn]] void cannot_order(const JinjaValue& a, const JinjaValue& b) {
  jinja_fault("cannot order a value of type " + type_name(a) + " and one of type " + type_name(b));
}

void need_hashable(const JinjaValue& key) {
  const JinjaList* list = as<JinjaList*>(key);
  const bool unhashable = as<JinjaDict*>(key) || (list && list->kind == JinjaList::Kind::list);
  if (unhashable) jinja_fault("a value of type " + type_name(key) + " cannot be a key");
}

}  // namespace

void jinja_fault(const std::string& message) {
  throw Error(message);
}

std::optional<std::int64_t> whole_number(const JinjaValue& value) {
  if (const auto* truth = std::get_if<bool>(&value)) return *truth ? 1 : 0;
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return *whole;
  return std::nullopt;
}

std::optional<double> number(const JinjaValue& value) {
  if (const auto* real = std::get_if<double>(&value)) return *real;
  if (const auto whole = whole_number(value)) return static_cast<double>(*whole);
  return std::nullopt;
}

std::string type_name(const JinjaValue& value) {
  static constexpr const char* kNames[] = {"Undefined", "NoneType", "bool",    "int",
                                           "float",     "str",      "list",    "dict",
                                           "Namespace", "loop",     "callable"};
  const JinjaList* list = as<JinjaList*>(value);
  if (!list || list->kind == JinjaList::Kind::list) return kNames[value.index()];
  switch (list->kind) {
    case JinjaList::Kind::tuple:
      return "tuple";
    case JinjaList::Kind::range:
      return "range";
    case JinjaList::Kind::view:
      return "view of a dict";
    default:
      return "generator";
  }
}

bool is_true(const JinjaValue& value) {
  if (is_undefined(value) || is_none(value)) return false;
  if (const auto n = number(value)) return *n != 0;  // NaN is true
  if (const JinjaText* text = text_in(value)) return !text->empty();
  if (const JinjaList* list = as<JinjaList*>(value)) {
    return list->kind == JinjaList::Kind::generator || !list->items.empty();
  }
  if (const JinjaDict* dict = as<JinjaDict*>(value)) return !dict->entries.empty();
  return true;
}

bool equal(JinjaHeap& heap, const JinjaValue& a, const JinjaValue& b) {
  heap.step();
  const JinjaHeap::Nesting nesting(heap);
  const auto x = whole_number(a), y = whole_number(b);
  if (x && y) return *x == *y;
  if (const auto p = number(a), q = number(b); p && q) return *p == *q;
  if (a.index() != b.index()) return false;
  if (is_undefined(a) || is_none(a)) return true;
  if (const JinjaText* text = text_in(a)) {
    heap.search(std::min(text->size(), text_in(b)->size()), 1);
    return text->bytes() == text_in(b)->bytes();
  }
  if (const JinjaList* list = as<JinjaList*>(a)) {
    const JinjaList* other = as<JinjaList*>(b);
    return list == other ||
           (list->kind != JinjaList::Kind::generator && list->kind != JinjaList::Kind::view &&
            equal_items(heap, *list, *other));
  }
  if (const JinjaDict* dict = as<JinjaDict*>(a)) {
    return dict == as<JinjaDict*>(b) || equal_entries(heap, *dict, *as<JinjaDict*>(b));
  }
  return as<JinjaNamespace*>(a) == as<JinjaNamespace*>(b) &&
         as<const JinjaLoop*>(a) == as<const JinjaLoop*>(b) &&
         as<const JinjaCallable*>(a) == as<const JinjaCallable*>(b);
}

int order(JinjaHeap& heap, const JinjaValue& a, const JinjaValue& b) {
  heap.step();
  const JinjaHeap::Nesting nesting(heap);
  const auto x = whole_number(a), y = whole_number(b);
  if (x && y) return *x < *y ? -1 : *x > *y ? 1 : 0;
  if (const auto p = number(a), q = number(b); p && q) return sign(*p, *q);
  const JinjaText *s = text_in(a), *t = text_in(b);
  if (s && t) {
    heap.search(std::min(s->size(), t->size()), 1);
    return s->bytes().compare(t->bytes());
  }
  const JinjaList *l = as<JinjaList*>(a), *m = as<JinjaList*>(b);
  if (!l || !m || l->kind != m->kind || !is_ordered_list(*l)) cannot_order(a, b);
  for (std::size_t i = 0; i < std::min(l->items.size(), m->items.size()); ++i) {
    if (!equal(heap, l->items[i], m->items[i])) return order(heap, l->items[i], m->items[i]);
  }
  return l->items.size() < m->items.size() ? -1 : l->items.size() > m->items.size() ? 1 : 0;
}

bool contains(JinjaHeap& heap, const JinjaValue& container, const JinjaValue& item) {
  if (const JinjaText* text = text_in(container)) {
    const JinjaText* part = text_in(item);
    if (!part) {
      jinja_fault("'in' looks for a string within a string, got a value of type " +
                  type_name(item));
    }
    heap.search(text->size(), part->size());
    return text->bytes().find(part->bytes()) != std::string::npos;
  }
  if (const JinjaDict* dict = as<JinjaDict*>(container)) {
    need_hashable(item);
    return find_entry(heap, *dict, item) != nullptr;
  }
  return std::ranges::any_of(iterate(heap, container)->items,
                             [&](const JinjaValue& one) { return equal(heap, one, item); });
}

const JinjaList* iterate(JinjaHeap& heap, const JinjaValue& value) {
  std::vector<JinjaValue> items;
  if (JinjaList* list = as<JinjaList*>(value)) {
    if (list->kind != JinjaList::Kind::generator) return list;
    items.swap(list->items);
  } else if (const JinjaDict* dict = as<JinjaDict*>(value)) {
    for (const auto& entry : dict->entries) items.push_back(entry.first);
  } else if (const JinjaText* text = text_in(value)) {
    text->each_character([&](char32_t, std::size_t begin, std::size_t end, bool) {
      items.push_back(heap.text(text->part(begin, end)));
    });
  } else if (!is_undefined(value)) {
    jinja_fault("a value of type " + type_name(value) + " cannot be gone through");
  }
  return std::get<JinjaList*>(heap.list(std::move(items)));
}

std::size_t length_of(const JinjaValue& value) {
  if (is_undefined(value)) return 0;
  if (const JinjaText* text = text_in(value)) return count_characters(text->bytes());
  if (const JinjaDict* dict = as<JinjaDict*>(value)) return dict->entries.size();
  const JinjaList* list = as<JinjaList*>(value);
  if (list && list->kind != JinjaList::Kind::generator) return list->items.size();
  jinja_fault("a value of type " + type_name(value) + " has no length");
}

const JinjaValue* find_entry(JinjaHeap& heap, const JinjaDict& dict, const JinjaValue& key) {
  if (const JinjaText* name = text_in(key)) {
    heap.search(name->size(), 1);
    const auto found = dict.by_name.find(name->bytes());
    return found == dict.by_name.end() ? nullptr : &dict.entries[found->second].second;
  }
  for (const auto& [other, value] : dict.entries) {
    if (!text_in(other) && equal(heap, other, key)) return &value;
  }
  return nullptr;
}

void JinjaHeap::set(JinjaDict& dict, const JinjaValue& key, const JinjaValue& value) {
  need_hashable(key);
  if (const JinjaValue* found = find_entry(*this, dict, key)) {
    const_cast<JinjaValue&>(*found) = value;
    return;
  }
  take(sizeof(JinjaValue) * 6);
  if (const JinjaText* name = text_in(key))
    dict.by_name.emplace(name->bytes(), dict.entries.size());
  dict.entries.emplace_back(key, value);
}

const JinjaValue* JinjaScope::find(JinjaHeap& heap, std::string_view name) const {
  for (const JinjaScope* scope = this; scope; scope = scope->outer_) {
    heap.scan(scope->names_.size());
    for (const auto& [known, value] : scope->names_) {
      if (known == name) return &value;
    }
  }
  return nullptr;
}

void JinjaScope::keep() {
  for (JinjaScope* scope = this; scope && !scope->kept_; scope = scope->outer_) scope->kept_ = true;
}

void JinjaScope::begin_again(JinjaScope* outer) {
  outer_ = outer;
  names_.clear();
}

void JinjaScope::set(JinjaHeap& heap, const std::string& name, const JinjaValue& value) {
  heap.scan(names_.size());
  for (auto& [known, old] : names_) {
    if (known == name) {
      old = value;
      return;
    }
  }
  names_.emplace_back(name, value);
}

}  // namespace blip2
