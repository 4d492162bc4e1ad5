#pragma once

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

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
  // A number above 0, the one that `value` has if the key is not there.
  template <typename T>
  void read_positive(const char* key, T& value) const {
    read(key, value);
    need(value > 0 && std::isfinite(static_cast<double>(value)),
         fmt::format("{}: expected a positive number, got {}", key, value), where_);
  }
  // A list; read() takes a single value for a list of one.
  template <typename T>
  void read_list(const char* key, std::vector<T>& values) const {
    const nlohmann::json* found = find_member(object_, {key});
    need(!found || found->is_array(),
         fmt::format("{}: expected a list, got {}", key, found ? shown(*found) : ""), where_);
    read(key, values);
  }
  // Error unless the key is there.
  void require(const char* key, const std::string& reason) const {
    need(has(key), fmt::format("{}: is missing, {}", key, reason), where_);
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
  // The table under the key; empty if there is none, and Error if there is something else.
  nlohmann::json table(const char* key) const {
    const nlohmann::json* found = find_member(object_, {key});
    if (!found) return nlohmann::json::object();
    need(found->is_object(),
         fmt::format("{}: expected a table of keys, got {}", key, shown(*found)), where_);
    return *found;
  }
  const nlohmann::json& object() const { return object_; }
  const std::string& where() const { return where_; }

 private:
  const nlohmann::json& object_;
  std::string where_;
};

}  // namespace blip2
