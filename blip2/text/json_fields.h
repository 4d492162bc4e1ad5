#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace blip2 {

// Members of a JSON object with the type that is expected; Error naming `where`, the key and what
// is there instead. With a default, a missing or null member is that.
std::string string_field(const nlohmann::json& object, const std::string& key,
                         const std::string& where, std::optional<std::string> missing = {});
bool bool_field(const nlohmann::json& object, const std::string& key, bool missing,
                const std::string& where);
std::int32_t integer_field(const nlohmann::json& object, const std::string& key,
                           std::int32_t missing, const std::string& where);
const nlohmann::json& array_field(const nlohmann::json& object, const std::string& key,
                                  const std::string& where);
const nlohmann::json& object_field(const nlohmann::json& object, const std::string& key,
                                   const std::string& where);

}  // namespace blip2
