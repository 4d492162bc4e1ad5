#pragma once

#include <concepts>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "blip2/protocols/limits.h"

// Reading members of a request's JSON, each checked; RequestError names the member by its path,
// "messages[0].content". A member that is null is not there.
namespace blip2 {

// The request's object. RequestError: 413 if the body is too long, 400 if it is no JSON object.
nlohmann::json parse_body(std::string_view body, const RequestLimits& limits);

// An answer's text; bytes that are no UTF-8 become replacement characters.
std::string dumped(const nlohmann::ordered_json& answer);

// What a value is, for messages: "3", "a list", "\"abc…\"".
std::string described(const nlohmann::json& value);

// 400 "PATH: MESSAGE".
[[noreturn]] void refuse(const std::string& path, const std::string& message,
                         const char* code = "invalid_value");
[[noreturn]] void refuse_type(const std::string& path, const char* expected,
                              const nlohmann::json& got);

// One object of the request at `path` (empty: the request itself). Refers to the JSON, which has to
// live longer.
class Members {
 public:
  Members(const nlohmann::json& object, std::string path);

  const std::string& path() const { return path_; }
  std::string path_of(std::string_view key) const;
  // The member; nullptr if it is not there.
  const nlohmann::json* find(const char* key) const;
  const nlohmann::json& need(const char* key, const char* expected) const;

  // A whole number (3.0 is one) of lowest to highest, both included.
  std::optional<std::int64_t> whole(const char* key, std::int64_t lowest,
                                    std::int64_t highest) const;
  // A number from `lowest` to `highest`, both included.
  std::optional<double> number(const char* key, double lowest, double highest) const;
  std::optional<bool> flag(const char* key) const;
  const std::string* text(const char* key) const;
  const nlohmann::json* list(const char* key) const;
  const nlohmann::json* object(const char* key) const;

  const nlohmann::json& value() const { return object_; }

 private:
  const nlohmann::json& object_;
  std::string path_;
};

// The number that a value is; refused as Members::whole does.
std::int64_t whole_value(const nlohmann::json& value, const std::string& path, std::int64_t lowest,
                         std::int64_t highest);
const std::string& text_value_at(const nlohmann::json& value, const std::string& path);

// The name of the model in the request, or the server's; 404 if the server has another.
std::string requested_model(const std::string* name, const std::string& path,
                            const RequestLimits& limits);

// Counts the bytes of all texts of a request.
class TextBudget {
 public:
  explicit TextBudget(std::uint64_t limit) : limit_(limit), left_(limit) {}
  // 400 when the texts have more bytes than the limit.
  void spend(std::uint64_t bytes, const std::string& path);

 private:
  std::uint64_t limit_, left_;
};

}  // namespace blip2
