#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "blip2/protocols/request_json_internal.h"

namespace blip2 {

// A member that is not supported, and the values (besides null) with which it changes nothing.
struct NeutralMember {
  std::string_view name;
  bool (*is_neutral)(const nlohmann::json& value);
};

bool is_empty_value(const nlohmann::json& value);  // "", [], {}
bool is_false_value(const nlohmann::json& value);
bool is_true_value(const nlohmann::json& value);
bool is_zero_value(const nlohmann::json& value);
bool is_one_value(const nlohmann::json& value);

// What one object may have: members that are read, members that are passed over because they change
// nothing, members that are refused unless they are neutral. Each list may be shared by objects.
struct KnownMembers {
  std::span<const std::string_view> read, passed_over;
  std::span<const NeutralMember> neutral = {};
};

// 400 naming the first member that would change the answer and is not supported, or that nobody
// knows (with the nearest name).
void check_members(const Members& members, const KnownMembers& known);

}  // namespace blip2
