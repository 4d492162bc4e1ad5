#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace blip2 {

// What untrusted JSON may cost: nesting, text size, and values (one takes up to ~80 bytes).
struct JsonLimits {
  std::size_t depth = 64;
  std::uint64_t bytes = 64u << 20;
  std::size_t values = 8u << 20;
  // Whether NaN, Infinity, -Infinity and numbers beyond a double, as Python writes and reads them,
  // are taken, as null.
  bool python_numbers = false;
};

// Parses `text`; Error naming `where` and the byte offset if it is not JSON, a key is there twice
// in one object, or a limit is passed.
nlohmann::json parse_json(std::string_view text, const std::string& where,
                          const JsonLimits& limits = {});

// The JSON file's content; it may begin with a byte order mark of UTF-8.
nlohmann::json read_json(const std::filesystem::path& path, const JsonLimits& limits = {});

}  // namespace blip2
