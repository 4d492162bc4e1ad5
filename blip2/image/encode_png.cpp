#include <png.h>

#include "blip2/base/error.h"
#include "blip2/image/image.h"

namespace blip2 {

std::string encode_png(const Image& image) {
  if (image.width <= 0 || image.height <= 0) throw Error("an empty picture has no PNG");
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(image.width);
  header.height = static_cast<png_uint_32>(image.height);
  header.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(header);
  std::string bytes(size, '\0');
  if (png_image_write_to_memory(&header, bytes.data(), &size, 0, image.rgb.data(), 0, nullptr) ==
      0) {
    throw Error(std::string("libpng could not write the picture: ") + header.message);
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace blip2
