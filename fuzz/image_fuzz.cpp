// Decodes the input as a picture: it must end as a picture within the limits or as an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "blip2/base/error.h"
#include "blip2/image/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const blip2::ImageLimits limits{1 << 20, 1 << 24};
  try {
    const blip2::Image image = blip2::decode_image(
        std::as_bytes(std::span(data, size)), "input",
        size % 2 == 0 ? blip2::SixteenBit::cut : blip2::SixteenBit::scale, limits);
    const auto pixels = std::int64_t{image.width} * image.height;
    if (pixels > limits.max_pixels || image.rgb.size() != static_cast<std::size_t>(3 * pixels)) {
      std::abort();
    }
  } catch (const blip2::Error&) {
  }
  return 0;
}
