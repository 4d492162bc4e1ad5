#include <fmt/format.h>
#include <png.h>

#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/image/codecs_internal.h"
#include "blip2/image/orientation_internal.h"

namespace blip2 {
namespace {

// libpng reports errors by calling back; the callback jumps to guard(), which throws. Between the
// two lie only libpng's frames and the callable's, none of which holds anything to destroy.
class PngGuard {
 public:
  explicit PngGuard(std::string where) : where_(std::move(where)) {}

  template <typename Call>
  void guard(const Call& call) {
    if (setjmp(jump_) != 0) throw Error(fmt::format("damaged PNG: {}", message_), where_);
    call();
  }

 protected:
  [[noreturn]] static void fail(png_structp png, png_const_charp message) {
    auto& self = *static_cast<PngGuard*>(png_get_error_ptr(png));
    std::snprintf(self.message_, sizeof self.message_, "%s", message);
    std::longjmp(self.jump_, 1);
  }
  static void ignore(png_structp, png_const_charp) {}

 private:
  std::string where_;
  std::jmp_buf jump_{};
  char message_[256] = {};
};

class PngReader : public PngGuard {
 public:
  PngReader(std::span<const std::byte> bytes, const std::string& where)
      : PngGuard(where), rest_(bytes) {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, static_cast<PngGuard*>(this), fail, ignore);
    info = png == nullptr ? nullptr : png_create_info_struct(png);
    if (info == nullptr) {
      png_destroy_read_struct(&png, nullptr, nullptr);
      throw Error("libpng could not start", where);
    }
    png_set_read_fn(png, this, [](png_structp reader, png_bytep to, std::size_t count) {
      auto& rest = static_cast<PngReader*>(png_get_io_ptr(reader))->rest_;
      if (count > rest.size()) fail(reader, "the file is cut short");
      std::memcpy(to, rest.data(), count);
      rest = rest.subspan(count);
    });
  }
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  png_structp png = nullptr;
  png_infop info = nullptr;

 private:
  std::span<const std::byte> rest_;
};

// What the header chunks say; the pixels follow as stored, one byte or two (big-endian) a sample,
// samples of less than 8 bits in a byte of their own.
struct Layout {
  int width, height, depth, colour;
  int channels, sample_bytes;
  bool has_transparent = false;  // one grey value or colour is transparent
  png_color_16 transparent{};
};

Layout read_layout(PngReader& reader) {
  Layout layout{};
  png_uint_32 width = 0, height = 0;
  reader.guard([&] {
    png_get_IHDR(reader.png, reader.info, &width, &height, &layout.depth, &layout.colour, nullptr,
                 nullptr, nullptr);
    layout.channels = png_get_channels(reader.png, reader.info);
    png_color_16p transparent = nullptr;
    if (png_get_tRNS(reader.png, reader.info, nullptr, nullptr, &transparent) != 0 &&
        transparent != nullptr && layout.colour != PNG_COLOR_TYPE_PALETTE) {
      layout.has_transparent = true;
      layout.transparent = *transparent;
    }
  });
  layout.width = static_cast<int>(width);
  layout.height = static_cast<int>(height);
  layout.sample_bytes = layout.depth == 16 ? 2 : 1;
  return layout;
}

void check_layout(const Layout& layout, std::size_t file_bytes, const std::string& where,
                  const ImageLimits& limits) {
  const int pixel_bytes = layout.channels * layout.sample_bytes;
  check_size(layout.width, layout.height, std::max(pixel_bytes, 3), where, limits);
  // Deflate shrinks to no less than 1/1032; a header that claims more lies.
  const std::uint64_t bits = std::uint64_t{1} * layout.width * layout.height *
                             static_cast<unsigned>(layout.channels * layout.depth);
  if (bits / 8 > 1032 * std::uint64_t{file_bytes}) {
    throw Error(fmt::format("damaged PNG: {} bytes cannot hold {} x {} pixels", file_bytes,
                            layout.width, layout.height),
                where);
  }
}

std::vector<std::uint8_t> read_samples(PngReader& reader, const Layout& layout) {
  const std::size_t stride = static_cast<std::size_t>(layout.width) *
                             static_cast<std::size_t>(layout.channels * layout.sample_bytes);
  std::vector<std::uint8_t> samples(stride * static_cast<std::size_t>(layout.height));
  std::vector<png_bytep> rows(static_cast<std::size_t>(layout.height));
  for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = samples.data() + y * stride;
  reader.guard([&] {
    if (layout.depth < 8) png_set_packing(reader.png);
    png_set_interlace_handling(reader.png);
    png_read_image(reader.png, rows.data());
    png_read_end(reader.png, reader.info);
  });
  return samples;
}

Colour composed(const Colour& colour, std::uint8_t alpha) {
  return {over_white(colour[0], alpha), over_white(colour[1], alpha), over_white(colour[2], alpha)};
}

// The colour of each index of a palette; beyond its end black, as Pillow has it.
Palette palette_colours(const PngReader& reader) {
  Palette colours{};
  png_colorp palette = nullptr;
  png_bytep alphas = nullptr;
  int count = 0, alpha_count = 0;
  png_get_PLTE(reader.png, reader.info, &palette, &count);
  png_get_tRNS(reader.png, reader.info, &alphas, &alpha_count, nullptr);
  for (int i = 0; i < 256; ++i) {
    if (i < count) colours[i] = {palette[i].red, palette[i].green, palette[i].blue};
    if (alphas != nullptr && i < alpha_count) colours[i] = composed(colours[i], alphas[i]);
  }
  return colours;
}

// The colour of each grey value of 8 or fewer bits. As in Pillow, the transparent value (its lower
// 8 bits) is compared with the value scaled to 8 bits, save that any at depth 1 means white.
Palette grey_colours(const Layout& layout) {
  Palette colours{};
  const int top = (1 << layout.depth) - 1;
  int transparent = layout.has_transparent ? layout.transparent.gray & 0xff : -1;
  if (layout.depth == 1 && layout.has_transparent) transparent = layout.transparent.gray ? 255 : 0;
  for (int i = 0; i <= top; ++i) {
    const int value = i * 255 / top;
    colours[i].fill(static_cast<std::uint8_t>(value == transparent ? 255 : value));
  }
  return colours;
}

// Pillow cuts 16-bit grey off at 255 instead of scaling it, and compares the transparent value's
// lower byte with that. Returns whether a value was above 255.
bool cut_grey16(const std::vector<std::uint8_t>& samples, const Layout& layout, Image& image) {
  const int transparent = layout.has_transparent ? layout.transparent.gray & 0xff : -1;
  bool above = false;
  std::uint8_t* rgb = image.rgb.data();
  for (std::size_t i = 0; i < samples.size(); i += 2, rgb += 3) {
    above = above || samples[i] != 0;
    const int value = samples[i] == 0 ? samples[i + 1] : 255;
    std::memset(rgb, value == transparent ? 255 : value, 3);
  }
  return above;
}

void scale_grey16(const std::vector<std::uint8_t>& samples, const Layout& layout, Image& image) {
  const int transparent = layout.has_transparent ? layout.transparent.gray : -1;
  std::uint8_t* rgb = image.rgb.data();
  for (std::size_t i = 0; i < samples.size(); i += 2, rgb += 3) {
    const int value = samples[i] * 256 + samples[i + 1];
    std::memset(rgb, value == transparent ? 255 : samples[i], 3);
  }
}

// RGB, RGBA and grey with alpha, the upper byte of each sample. As in Pillow, a transparent colour
// is compared by its lower bytes, at 16 bits too.
void from_channels(const std::vector<std::uint8_t>& samples, const Layout& layout, Image& image) {
  const int step = layout.sample_bytes, channels = layout.channels;
  const bool alpha = channels == 2 || channels == 4;
  const png_color_16& t = layout.transparent;
  const Colour transparent = {static_cast<std::uint8_t>(t.red), static_cast<std::uint8_t>(t.green),
                              static_cast<std::uint8_t>(t.blue)};
  const std::uint8_t* in = samples.data();
  const std::size_t pixels = image.rgb.size() / 3;
  for (std::size_t i = 0; i < pixels; ++i, in += channels * step) {
    Colour colour =
        channels == 2 ? Colour{in[0], in[0], in[0]} : Colour{in[0], in[step], in[2 * step]};
    if (alpha) colour = composed(colour, in[(channels - 1) * step]);
    if (layout.has_transparent && colour == transparent) colour = {255, 255, 255};
    std::memcpy(image.rgb.data() + 3 * i, colour.data(), 3);
  }
}

Image to_rgb(const PngReader& reader, const Layout& layout, std::vector<std::uint8_t> samples,
             SixteenBit sixteen_bit, const std::string& where) {
  if (layout.colour == PNG_COLOR_TYPE_RGB && layout.depth == 8 && !layout.has_transparent) {
    return {layout.width, layout.height, std::move(samples)};
  }
  Image image = blank_image(layout.width, layout.height);
  if (layout.colour == PNG_COLOR_TYPE_PALETTE) {
    from_palette(samples, palette_colours(reader), image);
  } else if (layout.colour != PNG_COLOR_TYPE_GRAY) {
    from_channels(samples, layout, image);
  } else if (layout.depth == 16 && sixteen_bit == SixteenBit::scale) {
    scale_grey16(samples, layout, image);
  } else if (layout.depth == 16) {
    if (cut_grey16(samples, layout, image)) warn_of_cut(where);
  } else {
    from_palette(samples, grey_colours(layout), image);
  }
  return image;
}

// The EXIF block that ImageMagick hides in a text: a newline, "exif", a length and hex digits.
std::vector<std::byte> unhex_profile(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const std::size_t end = text.find('\n');
    if (end == text.npos) return {};
    text.remove_prefix(end + 1);
  }
  std::vector<std::byte> bytes;
  int digits = 0, value = 0;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) continue;
    value = value * 16 + digit;
    if (++digits % 2 == 0) bytes.push_back(static_cast<std::byte>(std::exchange(value, 0)));
  }
  return bytes;
}

// The file's last eXIf chunk, which Pillow takes (libpng would give the first one). The file has
// been read through, so its chunks are whole.
std::optional<std::span<const std::byte>> last_exif(std::span<const std::byte> bytes) {
  constexpr std::size_t kSignature = 8, kFrame = 12;  // of a chunk: size, kind and checksum
  std::optional<std::span<const std::byte>> last;
  for (std::size_t at = kSignature; at + kFrame <= bytes.size();) {
    const auto* chunk = reinterpret_cast<png_const_bytep>(bytes.data() + at);
    const std::size_t size = png_get_uint_32(chunk);
    if (size > bytes.size() - at - kFrame) break;
    if (std::memcmp(chunk + 4, "eXIf", 4) == 0) last = bytes.subspan(at + 8, size);
    if (std::memcmp(chunk + 4, "IEND", 4) == 0) break;
    at += kFrame + size;
  }
  return last;
}

// Fills in the EXIF block, by Pillow's choice the eXIf chunk or else the profile among the texts,
// and the orientation; XMP if that says nothing of it. Of several texts with one key the last
// counts.
void read_metadata(const PngReader& reader, std::span<const std::byte> bytes, Decoded& decoded) {
  std::optional<std::string_view> profile, xmp;
  png_textp texts = nullptr;
  const int count = png_get_text(reader.png, reader.info, &texts, nullptr);
  for (int i = 0; i < count; ++i) {
    const std::string_view key = texts[i].key, text = texts[i].text;
    if (key == "Raw profile type exif") profile = text;
    if (key == "XML:com.adobe.xmp") xmp = text;
  }
  if (const auto exif = last_exif(bytes)) {
    decoded.exif.assign(exif->begin(), exif->end());
  } else if (profile) {
    decoded.exif = unhex_profile(*profile);
  }
  const std::optional<int> orientation = exif_orientation(decoded.exif);
  decoded.orientation = orientation ? *orientation : xmp_orientation(xmp.value_or(""));
}

}  // namespace

Decoded decode_png(std::span<const std::byte> bytes, const std::string& where,
                   SixteenBit sixteen_bit, const ImageLimits& limits) {
  PngReader reader(bytes, where);
  reader.guard([&reader] {
    png_set_user_limits(reader.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_size has its own
    png_set_crc_action(reader.png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_chunk_malloc_max(reader.png, 8u << 20);
    png_read_info(reader.png, reader.info);
  });
  const Layout layout = read_layout(reader);
  check_layout(layout, bytes.size(), where, limits);
  std::vector<std::uint8_t> samples = read_samples(reader, layout);
  Decoded decoded;
  read_metadata(reader, bytes, decoded);
  decoded.image = to_rgb(reader, layout, std::move(samples), sixteen_bit, where);
  return decoded;
}

}  // namespace blip2
