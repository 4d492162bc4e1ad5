#include <fmt/format.h>
#include <libheif/heif.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "blip2/base/error.h"
#include "blip2/image/codec_library_internal.h"
#include "blip2/image/codecs_internal.h"
#include "blip2/image/heic_limits_internal.h"

namespace blip2 {
namespace {

struct HeifLibrary {
  CodecLibrary library{BLIP2_HEIF_LIBRARY, "HEIC"};
  decltype(&heif_context_alloc) new_context = library.find("heif_context_alloc");
  decltype(&heif_context_free) free_context = library.find("heif_context_free");
  decltype(&heif_context_set_maximum_image_size_limit) set_limit =
      library.find("heif_context_set_maximum_image_size_limit");
  decltype(&heif_context_set_max_decoding_threads) set_threads =
      library.find("heif_context_set_max_decoding_threads");
  decltype(&heif_context_read_from_memory_without_copy) read =
      library.find("heif_context_read_from_memory_without_copy");
  decltype(&heif_context_get_primary_image_handle) get_primary =
      library.find("heif_context_get_primary_image_handle");
  decltype(&heif_image_handle_release) free_handle = library.find("heif_image_handle_release");
  decltype(&heif_image_handle_get_width) width = library.find("heif_image_handle_get_width");
  decltype(&heif_image_handle_get_height) height = library.find("heif_image_handle_get_height");
  // Before the picture is cropped.
  decltype(&heif_image_handle_get_ispe_width) stored_width =
      library.find("heif_image_handle_get_ispe_width");
  decltype(&heif_image_handle_get_ispe_height) stored_height =
      library.find("heif_image_handle_get_ispe_height");
  decltype(&heif_image_handle_has_alpha_channel) has_alpha =
      library.find("heif_image_handle_has_alpha_channel");
  decltype(&heif_image_handle_is_premultiplied_alpha) is_premultiplied =
      library.find("heif_image_handle_is_premultiplied_alpha");
  decltype(&heif_decoding_options_alloc) new_options = library.find("heif_decoding_options_alloc");
  decltype(&heif_decoding_options_free) free_options = library.find("heif_decoding_options_free");
  decltype(&heif_decode_image) decode = library.find("heif_decode_image");
  decltype(&heif_image_release) free_image = library.find("heif_image_release");
  decltype(&heif_image_get_width) image_width = library.find("heif_image_get_width");
  decltype(&heif_image_get_height) image_height = library.find("heif_image_get_height");
  decltype(&heif_image_get_plane_readonly) plane = library.find("heif_image_get_plane_readonly");
  decltype(&heif_init) init = library.find("heif_init");

  HeifLibrary() { init(nullptr); }  // loads its plugins, which Debian 13 keeps apart
};

const HeifLibrary& heif_library() {
  static const HeifLibrary library;
  return library;
}

using HeifContext = std::unique_ptr<heif_context, void (*)(heif_context*)>;
using HeifHandle = std::unique_ptr<const heif_image_handle, void (*)(const heif_image_handle*)>;
using HeifImage = std::unique_ptr<const heif_image, void (*)(const heif_image*)>;

void require_heif(const heif_error& error, const std::string& where) {
  if (error.code == heif_error_Ok) return;
  if (error.subcode == heif_suberror_Unsupported_codec ||
      error.code == heif_error_Unsupported_filetype) {
    throw Error(fmt::format("HEIC that libheif does not read: {}", error.message), where,
                "install libheif-plugin-libde265 if your system has it, or save it as JPEG");
  }
  throw Error(fmt::format("damaged HEIC: {}", error.message), where);
}

HeifContext read_context(std::span<const std::byte> bytes, const std::string& where,
                         const ImageLimits& limits) {
  const HeifLibrary& library = heif_library();
  HeifContext context(library.new_context(), library.free_context);
  if (context == nullptr) throw Error("libheif could not start", where);
  library.set_threads(context.get(), 0);  // decodes in this thread
  // The limit is on each side; check_size has the one on pixels.
  constexpr std::int64_t kMostSide = 1 << 15;  // as by default
  library.set_limit(context.get(), static_cast<int>(std::min(limits.max_pixels, kMostSide)));
  require_heif(library.read(context.get(), bytes.data(), bytes.size(), nullptr), where);
  return context;
}

// The picture upright: libheif applies its transformations, and EXIF's orientation counts no more.
HeifImage decode_primary(const heif_image_handle* handle, bool alpha, const std::string& where) {
  const HeifLibrary& library = heif_library();
  const std::unique_ptr<heif_decoding_options, decltype(library.free_options)> options(
      library.new_options(), library.free_options);
  options->convert_hdr_to_8bit = 1;
  options->strict_decoding = 1;
  heif_image* image = nullptr;
  const heif_error error = library.decode(
      handle, &image, heif_colorspace_RGB,
      alpha ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB, options.get());
  HeifImage owned(image, library.free_image);
  require_heif(error, where);
  return owned;
}

// Colours that are multiplied by their opacity already, over white.
Image from_multiplied(const std::uint8_t* rgba, std::size_t stride, int width, int height) {
  Image image = blank_image(width, height);
  std::uint8_t* rgb = image.rgb.data();
  for (int y = 0; y < height; ++y) {
    const std::uint8_t* in = rgba + static_cast<std::size_t>(y) * stride;
    for (int x = 0; x < width; ++x, in += 4, rgb += 3) {
      for (int c = 0; c < 3; ++c) {
        rgb[c] = static_cast<std::uint8_t>(std::min(255, in[c] + 255 - in[3]));
      }
    }
  }
  return image;
}

Image copy_rows(const std::uint8_t* rgb, std::size_t stride, int width, int height) {
  Image image = blank_image(width, height);
  const std::size_t row = static_cast<std::size_t>(width) * 3;
  for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
    std::memcpy(image.rgb.data() + y * row, rgb + y * stride, row);
  }
  return image;
}

}  // namespace

Decoded decode_heic(std::span<const std::byte> bytes, const std::string& where,
                    const ImageLimits& limits) {
  check_heic_streams(bytes, where, limits);
  const HeifLibrary& library = heif_library();
  const HeifContext context = read_context(bytes, where, limits);
  heif_image_handle* found = nullptr;
  const heif_error error = library.get_primary(context.get(), &found);
  const HeifHandle handle(found, library.free_handle);
  require_heif(error, where);
  check_size(library.width(found), library.height(found), 8, where, limits);
  check_size(library.stored_width(found), library.stored_height(found), 8, where, limits);
  const bool alpha = library.has_alpha(found) != 0;
  const HeifImage picture = decode_primary(found, alpha, where);
  int row_bytes = 0;
  const std::uint8_t* pixels = library.plane(picture.get(), heif_channel_interleaved, &row_bytes);
  if (pixels == nullptr) throw Error("damaged HEIC: it has no pixels", where);
  const int width = library.image_width(picture.get(), heif_channel_interleaved);
  const int height = library.image_height(picture.get(), heif_channel_interleaved);
  check_size(width, height, 8, where, limits);
  const auto stride = static_cast<std::size_t>(row_bytes);
  if (!alpha) return {copy_rows(pixels, stride, width, height)};
  const bool multiplied = library.is_premultiplied(found) != 0;
  return {multiplied ? from_multiplied(pixels, stride, width, height)
                     : from_rgba(pixels, stride, width, height)};
}

}  // namespace blip2
