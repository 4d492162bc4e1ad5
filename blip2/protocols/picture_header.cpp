#include "blip2/protocols/picture_header.h"

#include <fmt/format.h>

#include <optional>
#include <string_view>

#include "blip2/protocols/foreign_format_internal.h"
#include "blip2/protocols/picture_size_internal.h"
#include "blip2/protocols/request_error.h"

namespace blip2 {
namespace {

[[noreturn]] void refuse_picture(const char* code, const std::string& param,
                                 const std::string& message) {
  throw RequestError(400, code, param, param.empty() ? message : param + ": " + message);
}

[[noreturn]] void refuse_format(std::string_view bytes, const std::string& param) {
  const std::string_view name = foreign_format(bytes);
  refuse_picture("unsupported_image_format", param,
                 fmt::format("expected a {} picture, got {}", picture_names(),
                             name.empty() ? "a file of no known format" : name));
}

}  // namespace

PictureHeader check_picture(std::string_view bytes, const PictureRules& rules,
                            const std::string& param) {
  if (bytes.empty()) refuse_picture("invalid_image", param, "the picture is empty (0 bytes)");
  const std::optional<PictureFormat> format = picture_format(bytes);
  if (!format) refuse_format(bytes, param);
  const std::string_view name = picture_kind(*format).name;
  if (bytes.size() > rules.max_bytes) {
    refuse_picture("image_too_large", param,
                   fmt::format("the {} picture has {} bytes, the limit is {} bytes", name,
                               bytes.size(), rules.max_bytes));
  }
  const PictureSize size = picture_size(bytes, *format);
  if (size.width <= 0 || size.height <= 0) {
    refuse_picture("invalid_image", param,
                   fmt::format("the {} picture is damaged or cut short in its header", name));
  }
  if (size.width > rules.max_pixels / size.height) {
    refuse_picture("image_too_large", param,
                   fmt::format("the {} picture has {} x {} pixels, the limit is {} pixels", name,
                               size.width, size.height, rules.max_pixels));
  }
  return {*format, size.width, size.height};
}

}  // namespace blip2
