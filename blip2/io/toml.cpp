#include "blip2/io/toml.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kMaxTomlBytes = 1u << 20;

}  // namespace

nlohmann::json parse_toml(const std::string& text, const std::string& where) {
  try {
    std::ostringstream json;
    json << toml::json_formatter(toml::parse(text, where));
    return nlohmann::json::parse(json.str());
  } catch (const toml::parse_error& error) {
    const auto& at = error.source().begin;
    throw Error(std::string(error.description()),
                fmt::format("{}:{}:{}", where, at.line, at.column), "expected TOML");
  }
}

nlohmann::json read_toml(const std::filesystem::path& path) {
  const std::string text = read_file(path, kMaxTomlBytes);
  return parse_toml(std::string(without_byte_order_mark(text, path.string())), path.string());
}

}  // namespace blip2
