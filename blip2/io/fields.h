#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/nearest.h"

namespace blip2 {

// A configuration struct declares each field once, and reading, writing and help follow from it:
//
//   struct Optimizer {
//     double lr = 1e-4;
//     template <typename Self, typename Visit>
//     static void fields(Self& self, Visit&& visit) {
//       visit("lr", self.lr, "peak learning rate");
//     }
//   };
//
// Fields are booleans, integers, floating-point numbers, strings, vectors and optionals of them,
// and structs of this kind. Defaults live in the struct; unknown keys and wrong types are refused.
struct FieldProbe {
  template <typename T>
  void operator()(std::string_view, T&, std::string_view) const {}
};

template <typename T>
concept FieldStruct = requires(T& value) {
  T::fields(value, FieldProbe{});
};

// One line of help: the dotted key, its default as JSON, its meaning.
struct FieldHelp {
  std::string key, default_value, help;
};

namespace detail {

template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};

[[noreturn]] inline void refuse(const nlohmann::json& value, const char* expected,
                                const std::string& where) {
  const std::string got = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  throw Error(fmt::format("expected {}, got {}", expected, got.substr(0, 80)), where);
}

}  // namespace detail

template <FieldStruct T>
void read_fields(T& out, const nlohmann::json& object, const std::string& where);

// Reads one value of any supported type; `where` names the file and key for errors.
template <typename T>
void read_value(T& out, const nlohmann::json& value, const std::string& where) {
  if constexpr (FieldStruct<T>) {
    read_fields(out, value, where);
  } else if constexpr (detail::IsOptional<T>::value) {
    if (value.is_null()) {
      out.reset();
    } else {
      read_value(out.emplace(), value, where);
    }
  } else if constexpr (detail::IsVector<T>::value) {
    // A single value stands for a list of one.
    out.clear();
    if (!value.is_array()) return read_value(out.emplace_back(), value, where);
    for (const auto& item : value) read_value(out.emplace_back(), item, where);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) detail::refuse(value, "true or false", where);
    out = value.get<bool>();
  } else if constexpr (std::integral<T>) {
    const bool fits = value.is_number_unsigned() ? std::in_range<T>(value.get<std::uint64_t>())
                                                 : value.is_number_integer() &&
                                                       std::in_range<T>(value.get<std::int64_t>());
    const char* range = sizeof(T) < 8 ? "a whole number of 32 bits" : "a whole number of 64 bits";
    if (!fits) detail::refuse(value, value.is_number_integer() ? range : "a whole number", where);
    out = value.get<T>();
  } else if constexpr (std::floating_point<T>) {
    if (!value.is_number()) detail::refuse(value, "a number", where);
    out = value.get<T>();
  } else {
    if (!value.is_string()) detail::refuse(value, "a string", where);
    out = value.get<std::string>();
  }
}

template <FieldStruct T>
void read_fields(T& out, const nlohmann::json& object, const std::string& where) {
  if (!object.is_object()) detail::refuse(object, "a table of keys", where);
  std::vector<std::string> known;
  T::fields(out, [&](std::string_view key, auto& field, std::string_view) {
    known.emplace_back(key);
    const auto found = object.find(key);
    if (found != object.end()) read_value(field, *found, fmt::format("{}: {}", where, key));
  });
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string near = nearest_match(key, known);
    throw Error(fmt::format("unknown key '{}'", key), where,
                near.empty() ? fmt::format("known keys: {}", fmt::join(known, ", "))
                             : fmt::format("did you mean '{}'?", near));
  }
}

template <typename T>
nlohmann::json write_value(const T& value) {
  if constexpr (FieldStruct<T>) {
    nlohmann::json object = nlohmann::json::object();
    T::fields(value, [&](std::string_view key, const auto& field, std::string_view) {
      object[std::string(key)] = write_value(field);
    });
    return object;
  } else if constexpr (detail::IsOptional<T>::value) {
    return value ? write_value(*value) : nlohmann::json();
  } else if constexpr (detail::IsVector<T>::value) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& item : value) list.push_back(write_value(item));
    return list;
  } else {
    return value;
  }
}

// Every field of `value`, nested ones with dotted keys, with its present value as the default.
template <FieldStruct T>
std::vector<FieldHelp> describe_fields(const T& value, const std::string& prefix = {}) {
  std::vector<FieldHelp> lines;
  T::fields(value, [&](std::string_view key, const auto& field, std::string_view help) {
    const std::string name = prefix + std::string(key);
    if constexpr (FieldStruct<std::remove_cvref_t<decltype(field)>>) {
      for (auto& line : describe_fields(field, name + ".")) lines.push_back(std::move(line));
    } else {
      lines.push_back({name, write_value(field).dump(), std::string(help)});
    }
  });
  return lines;
}

}  // namespace blip2
