#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "blip2/io/fields.h"

// Members of JSON objects that may have others beside: configurations of other programs, records of
// data. (fields.h reads objects whose keys are all known.) A member that is null is not there.
// Errors name the place and the key: "config.json: size: expected a number, got []".
namespace blip2 {

// A value cut short, in ASCII, for messages.
std::string shown(const nlohmann::json& value);

// The text that a record's value is; Error "\"caption\": expected text, got 3" if it is none.
const std::string& text_value(const nlohmann::json& value, std::string_view key);
// A whole number (3.0 is one) as text; empty if the value is none.
std::string whole_number(const nlohmann::json& value);

// The first of the members that is there; nullptr if none is.
const nlohmann::json* find_member(const nlohmann::json& object,
                                  std::initializer_list<const char*> keys);
// The member, or nullptr; Error if `object` is no object.
const nlohmann::json* find_member(const nlohmann::json& object, const std::string& key,
                                  const std::string& where);

// Gives `value` the member, if it is there, of any type that read_value takes.
template <typename T>
void read_member(T& value, const nlohmann::json& object, const std::string& key,
                 const std::string& where) {
  const nlohmann::json* found = find_member(object, key, where);
  if (found) read_value(value, *found, where + ": " + key);
}

// The member, or `missing`.
template <typename T>
T member_or(const nlohmann::json& object, const std::string& key, T missing,
            const std::string& where) {
  read_member(missing, object, key, where);
  return missing;
}

// A number from 0, or `missing`.
std::int32_t count_member(const nlohmann::json& object, const std::string& key,
                          std::int32_t missing, const std::string& where);

// Members that must be there.
std::string string_member(const nlohmann::json& object, const std::string& key,
                          const std::string& where);
const nlohmann::json& list_member(const nlohmann::json& object, const std::string& key,
                                  const std::string& where);
const nlohmann::json& object_member(const nlohmann::json& object, const std::string& key,
                                    const std::string& where);

}  // namespace blip2
