#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "blip2/io/json.h"
#include "blip2/io/utf8.h"
#include "blip2/protocols/request_error.h"
#include "blip2/protocols/request_json_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;

// A number as it may stand in a message, without an exponent where it is whole.
std::string shown_number(double number) {
  return std::trunc(number) == number && std::abs(number) < 1e15 ? fmt::format("{:.0f}", number)
                                                                 : fmt::format("{}", number);
}

// The whole number that a value is, unless it is none of 64 bits.
std::optional<std::int64_t> whole_of(const json& value) {
  constexpr double kMost = 1LL << 53;  // whole numbers up to here are exact in a double
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (!std::in_range<std::int64_t>(number)) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  const double number = value.get<double>();
  if (std::trunc(number) != number || std::abs(number) > kMost) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

bool is_named(std::string_view name, std::string_view model) {
  constexpr std::string_view kLatest = ":latest";
  if (name.ends_with(kLatest)) name.remove_suffix(kLatest.size());
  if (model.ends_with(kLatest)) model.remove_suffix(kLatest.size());
  return name == model;
}

}  // namespace

json parse_body(std::string_view body, const RequestLimits& limits) {
  if (body.size() > limits.max_body) {
    throw RequestError(
        413, "request_too_large", "",
        fmt::format("expected a body of at most {} bytes, got {}", limits.max_body, body.size()));
  }
  json request;
  try {
    request = parse_json(
        body, "",
        {.depth = limits.json_depth, .bytes = limits.max_body, .values = limits.json_values});
  } catch (const Error& error) {
    throw RequestError(400, "invalid_json", "", "the request's body: " + error.message());
  }
  if (request.is_object()) return request;
  throw RequestError(400, "invalid_json", "",
                     "the request's body: expected a JSON object, got " + described(request));
}

std::string dumped(const nlohmann::ordered_json& answer) {
  return answer.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string described(const json& value) {
  if (value.is_array()) return value.empty() ? "an empty list" : "a list";
  if (value.is_object()) return "an object";
  if (value.is_string()) {
    return fmt::format("\"{}\"", printable(value.get_ref<const std::string&>(), 40));
  }
  return value.dump();
}

void refuse(const std::string& path, const std::string& message, const char* code) {
  throw RequestError(400, code, path, path.empty() ? message : path + ": " + message);
}

void refuse_type(const std::string& path, const char* expected, const json& got) {
  refuse(path, fmt::format("expected {}, got {}", expected, described(got)), "invalid_type");
}

Members::Members(const json& object, std::string path) : object_(object), path_(std::move(path)) {
  if (!object.is_object()) refuse_type(path_, "an object", object);
}

std::string Members::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

const json* Members::find(const char* key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const json& Members::need(const char* key, const char* expected) const {
  if (const json* found = find(key)) return *found;
  refuse(path_of(key), fmt::format("expected {}, got nothing", expected), "missing_parameter");
}

std::optional<std::int64_t> Members::whole(const char* key, std::int64_t lowest,
                                           std::int64_t highest) const {
  const json* found = find(key);
  if (found == nullptr) return std::nullopt;
  return whole_value(*found, path_of(key), lowest, highest);
}

std::optional<double> Members::number(const char* key, double lowest, double highest) const {
  const json* found = find(key);
  if (found == nullptr) return std::nullopt;
  if (!found->is_number()) refuse_type(path_of(key), "a number", *found);
  const auto number = found->get<double>();
  if (number >= lowest && number <= highest) return number;
  refuse(path_of(key), fmt::format("expected a number from {} to {}, got {}", shown_number(lowest),
                                   shown_number(highest), described(*found)));
}

std::optional<bool> Members::flag(const char* key) const {
  const json* found = find(key);
  if (found == nullptr) return std::nullopt;
  if (!found->is_boolean()) refuse_type(path_of(key), "true or false", *found);
  return found->get<bool>();
}

const std::string* Members::text(const char* key) const {
  const json* found = find(key);
  return found == nullptr ? nullptr : &text_value_at(*found, path_of(key));
}

const json* Members::list(const char* key) const {
  const json* found = find(key);
  if (found != nullptr && !found->is_array()) refuse_type(path_of(key), "a list", *found);
  return found;
}

const json* Members::object(const char* key) const {
  const json* found = find(key);
  if (found != nullptr && !found->is_object()) refuse_type(path_of(key), "an object", *found);
  return found;
}

std::int64_t whole_value(const json& value, const std::string& path, std::int64_t lowest,
                         std::int64_t highest) {
  if (!value.is_number()) refuse_type(path, "a whole number", value);
  const auto number = whole_of(value);
  if (number && *number >= lowest && *number <= highest) return *number;
  refuse(path, fmt::format("expected a whole number from {} to {}, got {}", lowest, highest,
                           described(value)));
}

const std::string& text_value_at(const json& value, const std::string& path) {
  if (!value.is_string()) refuse_type(path, "a string", value);
  return value.get_ref<const std::string&>();
}

std::string requested_model(const std::string* name, const std::string& path,
                            const RequestLimits& limits) {
  constexpr std::size_t kLongest = 256;
  if (name == nullptr) return limits.models.empty() ? "" : limits.models.front();
  if (name->empty() || name->size() > kLongest) {
    refuse(path, fmt::format("expected a name of 1 to {} bytes, got {}", kLongest, name->size()));
  }
  const bool known = std::any_of(limits.models.begin(), limits.models.end(),
                                 [&](const std::string& model) { return is_named(*name, model); });
  if (known || limits.models.empty()) return *name;
  throw RequestError(404, "model_not_found", path,
                     fmt::format("model '{}' not found; this server has '{}'", printable(*name),
                                 limits.models.front()));
}

void TextBudget::spend(std::uint64_t bytes, const std::string& path) {
  if (bytes > left_) {
    refuse(path, fmt::format("the request's texts have more than {} bytes", limit_),
           "text_too_long");
  }
  left_ -= bytes;
}

}  // namespace blip2
