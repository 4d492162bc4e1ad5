#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace blip2 {

// Limits on untrusted JSON: depth of nesting, bytes of text, and number of values (a value takes up
// to ~80 bytes of memory).
struct JsonLimits {
  std::size_t depth = 64;
  std::uint64_t bytes = 64u << 20;
  std::size_t values = 8u << 20;
  // Whether NaN, Infinity, -Infinity and numbers beyond a double, which Python writes and reads,
  // are read as null; otherwise they are an Error.
  bool python_numbers = false;
};

// Parses `text`. Error naming `where` and the byte offset if it is not JSON, an object has a key
// twice, or a limit is exceeded.
nlohmann::json parse_json(std::string_view text, const std::string& where,
                          const JsonLimits& limits = {});

// The JSON file's content; it may begin with a byte order mark of UTF-8.
nlohmann::json read_json(const std::filesystem::path& path, const JsonLimits& limits = {});

}  // namespace blip2
