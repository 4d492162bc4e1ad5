#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace blip2 {

// The member of a JSON object under `key`, with the type expected; Error naming `where`, the key
// and the value found. `missing`: the default for a missing or null member.
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
