#include "blip2/chat/jinja_call_internal.h"

#include <fmt/format.h>

#include <algorithm>

namespace blip2 {

JinjaBound::JinjaBound(std::string callee, const JinjaArguments& arguments,
                       std::initializer_list<const char*> parameters)
    : callee_(std::move(callee)),
      parameters_(parameters.begin(), parameters.end()),
      values_(parameters.size()) {
  if (arguments.positional.size() > values_.size()) {
    jinja_fault(fmt::format("{}() takes {} arguments at most, got {}", callee_, values_.size(),
                            arguments.positional.size()));
  }
  std::copy(arguments.positional.begin(), arguments.positional.end(), values_.begin());
  for (const auto& [name, value] : arguments.named) {
    const auto known = std::find(parameters_.begin(), parameters_.end(), name);
    const auto place = static_cast<std::size_t>(known - parameters_.begin());
    if (known == parameters_.end() || values_[place]) {
      jinja_fault(fmt::format("{}() takes no argument '{}' here", callee_, name));
    }
    values_[place] = value;
  }
}

void JinjaBound::fail(std::size_t parameter, const std::string& what) const {
  jinja_fault(fmt::format("{}() needs {} as '{}'", callee_, what, parameters_[parameter]));
}

const JinjaValue* JinjaBound::find(std::size_t parameter) const {
  return values_[parameter] ? &*values_[parameter] : nullptr;
}

const JinjaValue& JinjaBound::need(std::size_t parameter) const {
  if (!values_[parameter]) fail(parameter, "a value");
  return *values_[parameter];
}

const JinjaText* JinjaBound::find_text(std::size_t parameter) const {
  const JinjaValue* value = find(parameter);
  if (!value || is_none(*value)) return nullptr;
  return &need_text(parameter);
}

const JinjaText& JinjaBound::need_text(std::size_t parameter) const {
  const JinjaText* text = text_in(need(parameter));
  if (!text) fail(parameter, "a string");
  return *text;
}

std::int64_t JinjaBound::whole(std::size_t parameter, std::int64_t fallback) const {
  const JinjaValue* value = find(parameter);
  if (!value || is_none(*value)) return fallback;
  const auto whole = whole_number(*value);
  if (!whole) fail(parameter, "an integer");
  return *whole;
}

bool JinjaBound::flag(std::size_t parameter, bool fallback) const {
  const JinjaValue* value = find(parameter);
  return value ? is_true(*value) : fallback;
}

}  // namespace blip2
