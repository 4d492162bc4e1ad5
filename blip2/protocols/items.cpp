#include <fmt/format.h>

#include <utility>

#include "blip2/protocols/items_internal.h"
#include "blip2/protocols/known_members_internal.h"
#include "blip2/protocols/picture_url_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::string_view kContentRead[] = {"content"}, kTextRead[] = {"text"},
                           kImageRead[] = {"image"};
constexpr std::string_view kExtras[] = {"role", "title", "id"};

void check_count(std::size_t count, const std::string& path, const RequestLimits& limits) {
  if (count == 0) refuse(path, "expected at least one entry, got an empty list");
  if (count > limits.max_items) {
    refuse(path, fmt::format("expected at most {} entries, got {}", limits.max_items, count));
  }
}

}  // namespace

Part ItemReader::item(const json& value, const std::string& path) {
  if (value.is_number())
    refuse(path, "token ids are not supported; send the text", "unsupported_content");
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    return has_scheme(text, "data:image/") ? reader_.picture(text, path)
                                           : single_part({reader_.text(text, path)}, path);
  }
  const Members members(value, path);
  if (const json* content = members.find("content")) {
    check_members(members, {kContentRead, kExtras});
    return single_part(reader_.content(*content, members.path_of("content")), path);
  }
  if (members.find("type") != nullptr) {
    Part part = reader_.part(value, path);
    if (part.picture) return part;
    return single_part({std::move(part)}, path);
  }
  if (const std::string* image = members.text("image")) {
    check_members(members, {kImageRead, kExtras});
    return reader_.picture(*image, members.path_of("image"));
  }
  check_members(members, {kTextRead, kExtras});
  const std::string text_path = members.path_of("text");
  return single_part(
      {reader_.text(text_value_at(members.need("text", "a string"), text_path), text_path)},
      text_path);
}

std::vector<Part> ItemReader::items(const json& value, const std::string& path) {
  const json* list = &value;
  std::string list_path = path;
  if (value.is_object() && value.contains("content") && value["content"].is_array()) {
    list = &value["content"];
    list_path += ".content";
    check_members(Members(value, path), {kContentRead, kExtras});
  }
  if (!list->is_array()) return {item(*list, list_path)};
  check_count(list->size(), list_path, limits_);
  std::vector<Part> parts;
  for (std::size_t i = 0; i < list->size(); ++i) {
    parts.push_back(item((*list)[i], fmt::format("{}[{}]", list_path, i)));
  }
  return parts;
}

}  // namespace blip2
