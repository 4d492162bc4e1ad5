#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "blip2/base/nearest.h"
#include "blip2/io/utf8.h"
#include "blip2/protocols/known_members_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;

bool has(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

[[noreturn]] void refuse_unknown(const Members& members, const std::string& name,
                                 const KnownMembers& known) {
  constexpr std::size_t kLongest = 40;  // of a name that may be a typo
  std::vector<std::string> names(known.read.begin(), known.read.end());
  for (const NeutralMember& member : known.neutral) names.emplace_back(member.name);
  const std::string near = name.size() > kLongest ? "" : nearest_match(name, names);
  const std::string shown = printable(name, kLongest);
  refuse(members.path_of(shown),
         near.empty() ? "unknown parameter"
                      : fmt::format("unknown parameter; did you mean '{}'?", near),
         "unknown_parameter");
}

}  // namespace

bool is_empty_value(const json& value) {
  return value.is_string() ? value.get_ref<const std::string&>().empty()
                           : value.is_structured() && value.empty();
}
bool is_false_value(const json& value) {
  return value.is_boolean() && !value.get<bool>();
}
bool is_true_value(const json& value) {
  return value.is_boolean() && value.get<bool>();
}
bool is_zero_value(const json& value) {
  return value.is_number() && value.get<double>() == 0;
}
bool is_one_value(const json& value) {
  return value.is_number() && value.get<double>() == 1;
}

void check_members(const Members& members, const KnownMembers& known) {
  for (const auto& [name, value] : members.value().items()) {
    if (value.is_null() || has(known.read, name) || has(known.passed_over, name)) continue;
    const auto neutral =
        std::find_if(known.neutral.begin(), known.neutral.end(),
                     [&key = name](const NeutralMember& member) { return member.name == key; });
    if (neutral == known.neutral.end()) refuse_unknown(members, name, known);
    if (neutral->is_neutral(value)) continue;
    refuse(members.path_of(name),
           fmt::format("this server does not support it, got {}", described(value)),
           "unsupported_parameter");
  }
}

}  // namespace blip2
