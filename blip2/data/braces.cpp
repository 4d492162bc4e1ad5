#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/data/data_source.h"
#include "blip2/io/tar_header.h"

namespace blip2 {
namespace {

[[noreturn]] void refuse_range(const std::string& inner, const std::string& pattern) {
  throw Error(fmt::format("expected {{first..last}} or {{a,b,…}}, got {{{}}}", inner), pattern);
}

[[noreturn]] void refuse_many(const std::string& pattern, std::size_t most) {
  throw Error(fmt::format("stands for more than {} files", most), pattern);
}

// What stands between two braces: numbers as wide as the wider of the two ends that begins with 0.
std::vector<std::string> alternatives(const std::string& inner, const std::string& pattern,
                                      std::size_t most) {
  std::vector<std::string> list;
  const std::size_t dots = inner.find("..");
  if (dots == std::string::npos) {
    if (inner.find(',') == std::string::npos) refuse_range(inner, pattern);
    for (std::size_t begin = 0, end; begin <= inner.size(); begin = end + 1) {
      end = std::min(inner.find(',', begin), inner.size());
      list.push_back(inner.substr(begin, end - begin));
    }
    return list;
  }
  const std::string low = inner.substr(0, dots), high = inner.substr(dots + 2);
  const auto first = parse_decimal(low), last = parse_decimal(high);
  if (!first || !last || *last < *first) refuse_range(inner, pattern);
  if (*last - *first >= most) refuse_many(pattern, most);
  const bool padded = low.starts_with('0') || high.starts_with('0');
  const std::size_t width = padded ? std::max(low.size(), high.size()) : 0;
  for (std::uint64_t i = 0; i <= *last - *first; ++i) {
    list.push_back(fmt::format("{:0{}}", *first + i, width));
  }
  return list;
}

}  // namespace

std::vector<std::string> expand_braces(const std::string& pattern, std::size_t most) {
  std::vector<std::string> results{""};
  for (std::size_t at = 0; at < pattern.size();) {
    const std::size_t open = std::min(pattern.find('{', at), pattern.size());
    for (std::string& result : results) result += pattern.substr(at, open - at);
    if (open == pattern.size()) break;
    const std::size_t close = pattern.find('}', open);
    if (close == std::string::npos) throw Error("expected a '}' after the '{'", pattern);
    const auto endings = alternatives(pattern.substr(open + 1, close - open - 1), pattern, most);
    if (results.size() * endings.size() > most) refuse_many(pattern, most);
    std::vector<std::string> longer;
    for (const std::string& result : results) {
      for (const std::string& ending : endings) longer.push_back(result + ending);
    }
    results = std::move(longer);
    at = close + 1;
  }
  return results;
}

std::vector<std::filesystem::path> shards_of(const std::filesystem::path& path,
                                             std::string_view extension) {
  std::vector<std::filesystem::path> shards;
  if (std::filesystem::is_regular_file(path)) return {path};
  if (!std::filesystem::is_directory(path)) {
    for (std::string& name : expand_braces(path.string())) shards.emplace_back(std::move(name));
    return shards;
  }
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() == extension) shards.push_back(entry.path());
  }
  if (shards.empty()) throw Error(fmt::format("holds no {} file", extension), path.string());
  std::sort(shards.begin(), shards.end());
  return shards;
}

}  // namespace blip2
