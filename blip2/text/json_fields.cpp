#include "blip2/text/json_fields.h"

#include <limits>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using nlohmann::json;

// The member, or null if there is none.
const json* member(const json& object, const std::string& key, const std::string& where) {
  if (!object.is_object()) {
    throw Error("expected an object with \"" + key + "\", got " + object.type_name(), where);
  }
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

[[noreturn]] void mismatch(const char* expected, const json* got, const std::string& key,
                           const std::string& where) {
  throw Error(std::string("expected ") + expected + " as \"" + key + "\", got " +
                  (got ? got->type_name() : "nothing"),
              where);
}

}  // namespace

std::string string_field(const json& object, const std::string& key, const std::string& where,
                         std::optional<std::string> missing) {
  const json* value = member(object, key, where);
  if (!value && missing) return *missing;
  if (!value || !value->is_string()) mismatch("a string", value, key, where);
  return value->get<std::string>();
}

bool bool_field(const json& object, const std::string& key, bool missing,
                const std::string& where) {
  const json* value = member(object, key, where);
  if (!value) return missing;
  if (!value->is_boolean()) mismatch("true or false", value, key, where);
  return value->get<bool>();
}

std::int32_t integer_field(const json& object, const std::string& key, std::int32_t missing,
                           const std::string& where) {
  const json* value = member(object, key, where);
  if (!value) return missing;
  if (!value->is_number_integer() || *value < 0 ||
      *value > std::numeric_limits<std::int32_t>::max()) {
    mismatch("a whole number from 0", value, key, where);
  }
  return value->get<std::int32_t>();
}

const json& array_field(const json& object, const std::string& key, const std::string& where) {
  const json* value = member(object, key, where);
  if (!value || !value->is_array()) mismatch("a list", value, key, where);
  return *value;
}

const json& object_field(const json& object, const std::string& key, const std::string& where) {
  const json* value = member(object, key, where);
  if (!value || !value->is_object()) mismatch("an object", value, key, where);
  return *value;
}

}  // namespace blip2
