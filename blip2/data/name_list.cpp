#include "blip2/data/name_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/data/record_fields_internal.h"
#include "blip2/io/utf8.h"

namespace blip2 {

std::vector<std::string> read_names(const std::filesystem::path& path) {
  const std::string content = read_file(path);
  std::string_view text = without_byte_order_mark(content, path.string());
  if (!is_utf8(text)) throw Error("is not UTF-8", path.string(), "save it as UTF-8");
  std::vector<std::string> names;
  std::map<std::string, std::size_t, std::less<>> lines;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string name(trim(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string where = fmt::format("{}:{}", path.string(), line);
    if (name.empty()) throw Error("expected a name, got a blank line", where, "take the line out");
    const auto [first, fresh] = lines.try_emplace(name, line);
    if (!fresh) {
      throw Error(
          fmt::format("'{}' is there twice, first in line {}", printable(name), first->second),
          where, "names share one probability: each may be there once");
    }
    names.push_back(name);
  }
  if (names.empty()) throw Error("expected names, one a line, got an empty file", path.string());
  return names;
}

}  // namespace blip2
