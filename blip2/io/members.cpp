#include "blip2/io/members.h"

#include <cmath>

namespace blip2 {
namespace {

using nlohmann::json;

const json& needed(const json& object, const std::string& key, const std::string& where,
                   const char* expected, bool (json::*fits)() const noexcept) {
  const json* found = find_member(object, key, where);
  if (found && (found->*fits)()) return *found;
  throw Error(fmt::format("expected {}, got {}", expected, found ? shown(*found) : "nothing"),
              where + ": " + key);
}

}  // namespace

std::string shown(const json& value) {
  const std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 60) + "…" : text;
}

const std::string& text_value(const json& value, std::string_view key) {
  if (value.is_string()) return value.get_ref<const std::string&>();
  throw Error(fmt::format("expected text, got {}", shown(value)), fmt::format("\"{}\"", key));
}

std::string whole_number(const json& value) {
  constexpr double kMost = 1LL << 53;  // whole numbers up to here are exact in a double
  if (value.is_number_integer()) return value.dump();
  const double number = value.is_number_float() ? value.get<double>() : 0.5;
  if (std::trunc(number) != number || std::abs(number) > kMost) return {};
  return std::to_string(static_cast<std::int64_t>(number));
}

const json* find_member(const json& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const auto found = object.find(key);
    if (found != object.end() && !found->is_null()) return &*found;
  }
  return nullptr;
}

const json* find_member(const json& object, const std::string& key, const std::string& where) {
  if (!object.is_object()) {
    throw Error(fmt::format("expected an object with \"{}\", got {}", key, shown(object)), where);
  }
  return find_member(object, {key.c_str()});
}

std::int32_t count_member(const json& object, const std::string& key, std::int32_t missing,
                          const std::string& where) {
  const json* found = find_member(object, key, where);
  if (!found) return missing;
  std::int32_t count = 0;
  read_value(count, *found, where + ": " + key);
  if (count < 0) detail::refuse(*found, "a whole number from 0", where + ": " + key);
  return count;
}

std::string string_member(const json& object, const std::string& key, const std::string& where) {
  return needed(object, key, where, "a string", &json::is_string).get<std::string>();
}

const json& list_member(const json& object, const std::string& key, const std::string& where) {
  return needed(object, key, where, "a list", &json::is_array);
}

const json& object_member(const json& object, const std::string& key, const std::string& where) {
  return needed(object, key, where, "an object", &json::is_object);
}

}  // namespace blip2
