#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "blip2/chat/jinja_text_internal.h"

namespace blip2 {

struct JinjaStatement;
class JinjaHeap;
class JinjaScope;
struct JinjaList;
struct JinjaDict;
struct JinjaNamespace;
struct JinjaLoop;
struct JinjaCallable;

// What a name or a member that is not there gives: it prints as nothing and is false; anything else
// asked of it is an error of these words.
struct JinjaUndefined {
  const std::string* why;
};
struct JinjaNone {};

// A value of a template. What it points to lies in the JinjaHeap of the run, so that values are
// copied and dropped freely and may even hold themselves.
using JinjaValue =
    std::variant<JinjaUndefined, JinjaNone, bool, std::int64_t, double, const JinjaText*,
                 JinjaList*, JinjaDict*, JinjaNamespace*, const JinjaLoop*, const JinjaCallable*>;

struct JinjaList {
  // `view` is what keys(), values() and items() give; `generator` what lazy filters give: it can be
  // read once, has no length and no places, and is true.
  enum class Kind { list, tuple, range, view, generator };
  Kind kind = Kind::list;
  std::vector<JinjaValue> items;
};

// In the order of insertion.
struct JinjaDict {
  std::vector<std::pair<JinjaValue, JinjaValue>> entries;
  std::unordered_map<std::string_view, std::size_t> by_name;  // places of entries with string keys
};

struct JinjaNamespace {
  std::vector<std::pair<std::string, JinjaValue>> members;
};

// What `loop` is.
struct JinjaLoop {
  const JinjaList* items = nullptr;
  std::size_t index = 0;
  std::int64_t depth = 1;
  std::vector<JinjaValue>* seen = nullptr;  // the arguments of the last call of loop.changed
};

struct JinjaCallable {
  enum class Kind { global, method, macro };
  Kind kind;
  std::string name;
  JinjaValue subject = JinjaNone{};  // a method's
  const JinjaStatement* macro = nullptr;
  JinjaScope* scope = nullptr;  // that the macro was defined in
};

// Error of these words, to which the evaluator adds the template and the line.
[[noreturn]] void jinja_fault(const std::string& message);

// The value of type T, or nullptr: as<JinjaList*>(value).
template <typename T>
T as(const JinjaValue& value) {
  const T* found = std::get_if<T>(&value);
  return found ? *found : nullptr;
}
inline const JinjaText* text_in(const JinjaValue& value) {
  return as<const JinjaText*>(value);
}
inline bool is_undefined(const JinjaValue& value) {
  return std::holds_alternative<JinjaUndefined>(value);
}
inline bool is_none(const JinjaValue& value) {
  return std::holds_alternative<JinjaNone>(value);
}
// Integers and truth values, as Python takes these for numbers.
std::optional<std::int64_t> whole_number(const JinjaValue& value);
std::optional<double> number(const JinjaValue& value);

// Python's names of types, for messages.
std::string type_name(const JinjaValue& value);
bool is_true(const JinjaValue& value);
bool equal(JinjaHeap& heap, const JinjaValue& a, const JinjaValue& b);
// Less than 0, 0 or more than 0; Error if Python does not order such values.
int order(JinjaHeap& heap, const JinjaValue& a, const JinjaValue& b);
// `item in container`.
bool contains(JinjaHeap& heap, const JinjaValue& container, const JinjaValue& item);
// What a loop goes over: items, keys, characters; nothing for an undefined value. A generator is
// empty from then on.
const JinjaList* iterate(JinjaHeap& heap, const JinjaValue& value);
std::size_t length_of(const JinjaValue& value);
const JinjaValue* find_entry(JinjaHeap& heap, const JinjaDict& dict, const JinjaValue& key);

// str() and repr().
JinjaText as_text(JinjaHeap& heap, const JinjaValue& value);
void append_repr(JinjaHeap& heap, const JinjaValue& value, JinjaText& out);
std::string float_repr(double value);

}  // namespace blip2
