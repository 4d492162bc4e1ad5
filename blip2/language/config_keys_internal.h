#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "blip2/base/error.h"
#include "blip2/io/members.h"

namespace blip2 {

// The keys of one table; null stands for a key that is not there.
class ConfigTable {
 public:
  ConfigTable(const nlohmann::json& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  bool has(const char* key) const { return find_member(object_, {key}) != nullptr; }
  template <typename T>
  void read(const char* key, T& value) const {
    read_member(value, object_, key, where_);
  }
  // A setting that has one supported value, which is also what a missing key means.
  template <typename T>
  void expect(const char* key, const T& supported) const {
    T value = supported;
    read(key, value);
    need(value == supported,
         fmt::format("{}: expected {}, got {}", key, nlohmann::json(supported).dump(),
                     nlohmann::json(value).dump()),
         where_);
  }
  // Settings that nothing supports.
  void expect_none(std::initializer_list<const char*> keys) const {
    for (const char* key : keys) {
      const nlohmann::json* found = find_member(object_, {key});
      need(!found, fmt::format("{}: expected null, got {}", key, found ? shown(*found) : ""),
           where_);
    }
  }
  // The table under the key; empty if there is none.
  nlohmann::json table(const char* key) const {
    const nlohmann::json* found = find_member(object_, {key});
    return found && found->is_object() ? *found : nlohmann::json::object();
  }
  const nlohmann::json& object() const { return object_; }
  const std::string& where() const { return where_; }

 private:
  const nlohmann::json& object_;
  std::string where_;
};

}  // namespace blip2
