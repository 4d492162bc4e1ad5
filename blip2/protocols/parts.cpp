#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "blip2/io/utf8.h"
#include "blip2/protocols/known_members_internal.h"
#include "blip2/protocols/parts_internal.h"
#include "blip2/protocols/picture_header.h"
#include "blip2/protocols/picture_url_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 2> kTextMembers = {"type", "text"};
constexpr std::array<std::string_view, 2> kImageMembers = {"type", "image_url"};
constexpr std::array<std::string_view, 4> kPartExtras = {"cache_control", "annotations", "uuid",
                                                         "prompt_cache_breakpoint"};
constexpr std::array<std::string_view, 1> kUrlMembers = {"url"};
constexpr std::array<std::string_view, 2> kUrlExtras = {"detail", "format"};

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\f\v") == text.npos;
}

}  // namespace

Part PartReader::text(const std::string& text, const std::string& path) {
  budget_.spend(text.size(), path);
  return {text, std::nullopt};
}

Part PartReader::picture(const std::string& source, const std::string& path) {
  if (!limits_.pictures.accepted) {
    refuse(path, "this model reads no pictures; send texts alone", "unsupported_image");
  }
  if (pictures_left_ == 0) {
    refuse(path,
           fmt::format("a request may have at most {} picture{}, this is one more", most_,
                       most_ == 1 ? "" : "s"),
           "too_many_images");
  }
  --pictures_left_;
  return {"", picture_source(source, limits_.pictures, path)};
}

Part PartReader::image_url(const Members& part) {
  check_members(part, {kImageMembers, kPartExtras});
  const json& value = part.need("image_url", "an object with a url, or a string");
  const std::string path = part.path_of("image_url");
  if (value.is_string()) return picture(value.get_ref<const std::string&>(), path);
  const Members object(value, path);
  check_members(object, {kUrlMembers, kUrlExtras});
  const std::string url_path = object.path_of("url");
  return picture(text_value_at(object.need("url", "a string"), url_path), url_path);
}

Part PartReader::part(const json& value, const std::string& path) {
  const Members members(value, path);
  const std::string type_path = members.path_of("type");
  const std::string& type = text_value_at(members.need("type", "a string"), type_path);
  if (type == "image_url") return image_url(members);
  if (type != "text") {
    refuse(type_path,
           fmt::format("expected text or image_url, got \"{}\"; this server reads no other parts",
                       printable(type, 40)),
           "unsupported_content");
  }
  check_members(members, {kTextMembers, kPartExtras});
  const std::string text_path = members.path_of("text");
  return text(text_value_at(members.need("text", "a string"), text_path), text_path);
}

std::vector<Part> PartReader::content(const json& value, const std::string& path) {
  if (value.is_string()) return {text(value.get_ref<const std::string&>(), path)};
  if (!value.is_array()) refuse_type(path, "a string or a list of parts", value);
  if (value.empty()) refuse(path, "expected at least one part, got an empty list");
  std::vector<Part> parts;
  for (std::size_t i = 0; i < value.size(); ++i) {
    parts.push_back(part(value[i], fmt::format("{}[{}]", path, i)));
  }
  return parts;
}

Part single_part(std::vector<Part> parts, const std::string& path) {
  std::string joined;
  Part* picture = nullptr;
  for (Part& part : parts) {
    if (part.picture && picture != nullptr) {
      refuse(path, "expected one picture or texts, got several pictures", "unsupported_content");
    }
    if (part.picture) picture = &part;
    if (!part.text.empty()) joined += (joined.empty() ? "" : "\n") + part.text;
  }
  if (picture != nullptr && !joined.empty()) {
    refuse(path, "expected one picture or texts, got both; this model has no joint vector of them",
           "unsupported_content");
  }
  if (picture != nullptr) return std::move(*picture);
  if (is_blank(joined)) refuse(path, "the text is empty");
  return {joined, std::nullopt};
}

bool says_something(const std::vector<Part>& parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [](const Part& part) { return part.picture || !is_blank(part.text); });
}

}  // namespace blip2
