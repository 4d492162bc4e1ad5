#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "blip2/chat/jinja_heap_internal.h"

namespace blip2 {

// The arguments that a call, a filter or a test got.
struct JinjaArguments {
  std::vector<JinjaValue> positional;
  std::vector<std::pair<std::string, JinjaValue>> named;
};

// Arguments by the names of a built-in function's parameters. Error for those that it does not
// have.
class JinjaBound {
 public:
  JinjaBound(std::string callee, const JinjaArguments& arguments,
             std::initializer_list<const char*> parameters);

  // By the parameter's place. Those that were not given are nullptr or the fallback; need() is an
  // error for them, and so is another type.
  const JinjaValue* find(std::size_t parameter) const;
  const JinjaValue& need(std::size_t parameter) const;
  const JinjaText* find_text(std::size_t parameter) const;  // nullptr for None too
  const JinjaText& need_text(std::size_t parameter) const;
  std::int64_t whole(std::size_t parameter, std::int64_t fallback) const;
  bool flag(std::size_t parameter, bool fallback) const;

 private:
  [[noreturn]] void fail(std::size_t parameter, const std::string& what) const;

  std::string callee_;
  std::vector<std::string> parameters_;
  std::vector<std::optional<JinjaValue>> values_;
};

// Filters and tests by name (jinja_filters.cpp, jinja_sequence_filters.cpp, jinja_tests.cpp). Error
// if there is none of the name.
JinjaValue apply_filter(JinjaHeap& heap, const std::string& name, const JinjaValue& subject,
                        const JinjaArguments& arguments);
bool apply_test(JinjaHeap& heap, const std::string& name, const JinjaValue& subject,
                const JinjaArguments& arguments);

using JinjaFilter = JinjaValue (*)(JinjaHeap&, const JinjaValue&, const JinjaArguments&);
// The filters that go through several values (select, map, join, sort, …); nullptr if there is none
// of the name.
JinjaFilter sequence_filter(std::string_view name);

// What Jinja's getattr, getitem and slices give, with what a template may not have refused.
JinjaValue member_of(JinjaHeap& heap, const JinjaValue& value, const std::string& name);
JinjaValue place_of(JinjaHeap& heap, const JinjaValue& value, const JinjaValue& place);
struct JinjaSlice {
  std::optional<std::int64_t> start, stop, step;
};
JinjaValue slice_of(JinjaHeap& heap, const JinjaValue& value, const JinjaSlice& slice);

// Methods of strings, dicts and lists (jinja_methods.cpp, jinja_text_methods.cpp).
bool has_method(const JinjaValue& value, std::string_view name);
JinjaValue call_method(JinjaHeap& heap, const JinjaCallable& method,
                       const JinjaArguments& arguments);
bool has_text_method(std::string_view name);
JinjaValue call_text_method(JinjaHeap& heap, const std::string& name, const JinjaText& text,
                            const JinjaArguments& arguments);

// a sign b, for + - * / // % ** ~.
JinjaValue apply_operator(JinjaHeap& heap, const std::string& sign, const JinjaValue& a,
                          const JinjaValue& b);
// a sign b, for == != < <= > >= in and "not in".
bool compare_values(JinjaHeap& heap, const std::string& sign, const JinjaValue& a,
                    const JinjaValue& b);
// Python's `pattern % values` and `pattern.format(…)`.
JinjaText format_percent(JinjaHeap& heap, const JinjaText& pattern, const JinjaArguments& values);
JinjaText format_braces(JinjaHeap& heap, const JinjaText& pattern, const JinjaArguments& values);

}  // namespace blip2
