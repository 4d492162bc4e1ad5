#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "blip2/image/image.h"
#include "blip2/io/base64.h"
#include "blip2/protocols/limits.h"
#include "blip2/protocols/request_error.h"

namespace blip2 {

// For tests: a small PNG file, and its data: URI.
inline std::string small_png(int width = 2, int height = 3) {
  Image image{width, height, {}};
  image.rgb.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3, 7);
  return encode_png(image);
}
inline std::string small_uri() {
  return "data:image/png;base64," + encode_base64(small_png());
}

// "STATUS CODE PARAM | MESSAGE" of the RequestError that the action throws; "none" if it throws
// none.
inline std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const RequestError& error) {
    EXPECT_EQ(error.type(), error.status() == 404 ? "not_found_error" : "invalid_request_error");
    return fmt::format("{} {} {} | {}", error.status(), error.code(), error.param(), error.what());
  }
  return "none";
}

}  // namespace blip2
