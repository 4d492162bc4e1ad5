#include <fmt/format.h>
#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/image/codecs_internal.h"
#include "blip2/image/orientation_internal.h"
#include "blip2/image/tiff_colours_internal.h"

namespace blip2 {
namespace {

// A file in memory for libtiff, which reports errors by calling back; the first one is kept.
class TiffReader {
 public:
  TiffReader(std::span<const std::byte> bytes, const std::string& where, std::uint64_t max_bytes)
      : bytes_(bytes), where_(where) {
    TIFFOpenOptions* options = TIFFOpenOptionsAlloc();
    if (options == nullptr) throw Error("libtiff could not start", where);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, static_cast<tmsize_t>(max_bytes));
    TIFFOpenOptionsSetErrorHandlerExtR(options, keep_error, this);
    TIFFOpenOptionsSetWarningHandlerExtR(options, ignore_warning, nullptr);
    file_ = TIFFClientOpenExt("picture", "rm", this, read, no_write, seek, close, size, no_map,
                              no_unmap, options);
    TIFFOpenOptionsFree(options);
    if (file_ == nullptr) fail();
    message_[0] = '\0';  // of tags that libtiff passed over
  }
  ~TiffReader() { TIFFClose(file_); }
  TiffReader(const TiffReader&) = delete;
  TiffReader& operator=(const TiffReader&) = delete;

  TIFF* file() { return file_; }

  // Throws if `good` is false, or if libtiff has reported an error: it goes on after some.
  void require(bool good) {
    if (!good || message_[0] != '\0') fail();
  }

  std::uint32_t number(std::uint32_t tag) {
    std::uint32_t value = 0;
    return TIFFGetField(file_, tag, &value) == 1 ? value : 0;
  }
  // A number of 16 bits, or its default value.
  std::uint16_t small_number(std::uint32_t tag, std::uint16_t otherwise) {
    std::uint16_t value = 0;
    return TIFFGetFieldDefaulted(file_, tag, &value) == 1 ? value : otherwise;
  }

 private:
  static TiffReader& self(thandle_t handle) { return *static_cast<TiffReader*>(handle); }
  static tmsize_t read(thandle_t handle, void* to, tmsize_t count) {
    TiffReader& r = self(handle);
    const std::uint64_t left = r.at_ < r.bytes_.size() ? r.bytes_.size() - r.at_ : 0;
    const std::uint64_t taken =
        std::min(left, static_cast<std::uint64_t>(std::max<tmsize_t>(count, 0)));
    if (taken > 0) std::memcpy(to, r.bytes_.data() + r.at_, taken);
    r.at_ += taken;
    return static_cast<tmsize_t>(taken);
  }
  static tmsize_t no_write(thandle_t, void*, tmsize_t) { return 0; }
  static toff_t seek(thandle_t handle, toff_t offset, int from) {
    TiffReader& r = self(handle);
    r.at_ = offset + (from == SEEK_CUR ? r.at_ : from == SEEK_END ? r.bytes_.size() : 0);
    return r.at_;
  }
  static int close(thandle_t) { return 0; }
  static toff_t size(thandle_t handle) { return self(handle).bytes_.size(); }
  static int no_map(thandle_t, void**, toff_t*) { return 0; }
  static void no_unmap(thandle_t, void*, toff_t) {}
  static int keep_error(TIFF*, void* reader, const char*, const char* format, va_list values) {
    char* message = static_cast<TiffReader*>(reader)->message_;
    if (message[0] == '\0') std::vsnprintf(message, sizeof message_, format, values);
    return 1;
  }
  static int ignore_warning(TIFF*, void*, const char*, const char*, va_list) { return 1; }

  [[noreturn]] void fail() {
    throw Error(
        fmt::format("damaged TIFF: {}", message_[0] == '\0' ? "it cannot be read" : message_),
        where_);
  }

  std::span<const std::byte> bytes_;
  const std::string& where_;
  std::uint64_t at_ = 0;
  char message_[256] = {};
  TIFF* file_ = nullptr;
};

// Those of Pillow's that libtiff decodes by itself; the others are rare or risky.
bool known_compression(int compression) {
  static constexpr int kKnown[] = {
      COMPRESSION_NONE,    COMPRESSION_CCITTRLE, COMPRESSION_CCITTFAX3,     COMPRESSION_CCITTFAX4,
      COMPRESSION_LZW,     COMPRESSION_JPEG,     COMPRESSION_ADOBE_DEFLATE, COMPRESSION_PACKBITS,
      COMPRESSION_DEFLATE, COMPRESSION_LZMA,     COMPRESSION_ZSTD,          COMPRESSION_WEBP};
  return std::ranges::find(kKnown, compression) != std::end(kKnown) &&
         TIFFIsCODECConfigured(static_cast<std::uint16_t>(compression)) == 1;
}

[[noreturn]] void refuse_tiff(const std::string& what, const std::string& where) {
  throw Error(fmt::format("TIFF with {} is not supported", what), where,
              "save it as 8-bit RGB, or as PNG");
}

TiffLayout read_tiff_layout(TiffReader& reader, const std::string& where) {
  TiffLayout layout;
  layout.width = reader.number(TIFFTAG_IMAGEWIDTH);
  layout.height = reader.number(TIFFTAG_IMAGELENGTH);
  layout.samples = reader.small_number(TIFFTAG_SAMPLESPERPIXEL, 1);
  layout.bits = reader.small_number(TIFFTAG_BITSPERSAMPLE, 1);
  layout.sample_format = reader.small_number(TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT);
  layout.compression = reader.small_number(TIFFTAG_COMPRESSION, COMPRESSION_NONE);
  layout.photometric = reader.small_number(TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISWHITE);
  layout.separate =
      reader.small_number(TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) == PLANARCONFIG_SEPARATE;
  std::uint16_t extra = 0, *kinds = nullptr;
  TIFFGetFieldDefaulted(reader.file(), TIFFTAG_EXTRASAMPLES, &extra, &kinds);
  if (kinds != nullptr) layout.extra.assign(kinds, kinds + extra);
  if (!known_compression(layout.compression)) {
    refuse_tiff(fmt::format("compression {}", layout.compression), where);
  }
  const std::string unknown = unknown_tiff_colours(layout);
  if (!unknown.empty()) refuse_tiff(unknown, where);
  return layout;
}

// These compressions make of a byte at most 4096; a header that claims more lies.
void check_tiff_bytes(const TiffLayout& layout, std::size_t file_bytes, const std::string& where) {
  static constexpr int kBounded[] = {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE,
                                     COMPRESSION_DEFLATE, COMPRESSION_PACKBITS};
  const bool bounded = std::ranges::find(kBounded, layout.compression) != std::end(kBounded);
  const auto bits = static_cast<std::uint64_t>(layout.width * layout.height) *
                    static_cast<unsigned>(layout.samples * layout.bits);
  if (bounded && bits / 8 > 4096 * std::uint64_t{file_bytes}) {
    throw Error(fmt::format("damaged TIFF: {} bytes cannot hold {} x {} pixels", file_bytes,
                            layout.width, layout.height),
                where);
  }
}

// The part of the picture that one strip or tile holds.
struct TiffBlock {
  std::int64_t x, y, width, height;
  std::size_t stride;  // bytes between its rows
};

// Spreads a block's samples into the picture's, one plane or all.
void place_block(const std::uint8_t* block, const TiffBlock& place, const TiffLayout& layout,
                 int plane, std::vector<std::uint8_t>& samples) {
  const int bits = layout.bits, bytes = layout.sample_bytes();
  const int step = layout.separate ? layout.samples : 1;
  const std::int64_t count = place.width * (layout.separate ? 1 : layout.samples);
  const unsigned top = (1u << std::min(bits, 8)) - 1;
  for (std::int64_t y = 0; y < place.height; ++y, block += place.stride) {
    const std::int64_t first = (place.y + y) * layout.width + place.x;
    std::uint8_t* to = samples.data() + (first * layout.samples + plane) * bytes;
    if (bits >= 8 && step == 1) {
      std::memcpy(to, block, static_cast<std::size_t>(count * bytes));
      continue;
    }
    for (std::int64_t i = 0; i < count; ++i, to += step * bytes) {
      if (bits >= 8) {
        std::memcpy(to, block + i * bytes, static_cast<std::size_t>(bytes));
      } else {
        const std::int64_t bit = i * bits;
        *to = static_cast<std::uint8_t>(block[bit / 8] >> (8 - bits - bit % 8) & top);
      }
    }
  }
}

void read_strips(TiffReader& reader, const TiffLayout& layout, const std::string& where,
                 const ImageLimits& limits, std::vector<std::uint8_t>& samples) {
  TIFF* file = reader.file();
  std::uint32_t rows = 0;
  TIFFGetFieldDefaulted(file, TIFFTAG_ROWSPERSTRIP, &rows);
  const std::int64_t in_strip = std::clamp<std::int64_t>(rows, 1, layout.height);
  const std::uint64_t size = TIFFStripSize64(file), stride = TIFFScanlineSize64(file);
  if (size == 0 || stride == 0 || size > limits.max_bytes)
    refuse_tiff("strips of this size", where);
  std::vector<std::uint8_t> block(size);
  const int planes = layout.separate ? layout.colours() : 1;
  for (int plane = 0; plane < planes; ++plane) {
    for (std::int64_t y = 0; y < layout.height; y += in_strip) {
      const std::int64_t height = std::min(in_strip, layout.height - y);
      const auto wanted = static_cast<tmsize_t>(static_cast<std::uint64_t>(height) * stride);
      const std::uint32_t strip =
          TIFFComputeStrip(file, static_cast<std::uint32_t>(y), static_cast<std::uint16_t>(plane));
      reader.require(TIFFReadEncodedStrip(file, strip, block.data(), wanted) == wanted);
      place_block(block.data(), {0, y, layout.width, height, stride}, layout, plane, samples);
    }
  }
}

void read_tiles(TiffReader& reader, const TiffLayout& layout, const std::string& where,
                const ImageLimits& limits, std::vector<std::uint8_t>& samples) {
  TIFF* file = reader.file();
  const std::int64_t width = reader.number(TIFFTAG_TILEWIDTH);
  const std::int64_t height = reader.number(TIFFTAG_TILELENGTH);
  const std::uint64_t size = TIFFTileSize64(file), stride = TIFFTileRowSize64(file);
  if (width <= 0 || height <= 0 || size == 0 || size > limits.max_bytes) {
    refuse_tiff("tiles of this size", where);
  }
  std::vector<std::uint8_t> block(size);
  const int planes = layout.separate ? layout.colours() : 1;
  for (int plane = 0; plane < planes; ++plane) {
    for (std::int64_t y = 0; y < layout.height; y += height) {
      for (std::int64_t x = 0; x < layout.width; x += width) {
        const std::uint32_t tile =
            TIFFComputeTile(file, static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(y), 0,
                            static_cast<std::uint16_t>(plane));
        const auto wanted = static_cast<tmsize_t>(size);
        reader.require(TIFFReadEncodedTile(file, tile, block.data(), wanted) == wanted);
        place_block(
            block.data(),
            {x, y, std::min(width, layout.width - x), std::min(height, layout.height - y), stride},
            layout, plane, samples);
      }
    }
  }
}

// YCbCr that is not JPEG: libtiff's own conversion, which is Pillow's too. Its pixels hold red in
// the lowest byte.
Image read_ycbcr(TiffReader& reader, const TiffLayout& layout) {
  TIFFRGBAImage source{};
  char message[1024] = {};
  reader.require(TIFFRGBAImageBegin(&source, reader.file(), 1, message) == 1);
  source.orientation = source.req_orientation = ORIENTATION_TOPLEFT;  // decode_image turns it
  Image image = blank_image(static_cast<int>(layout.width), static_cast<int>(layout.height));
  std::vector<std::uint32_t> pixels(image.rgb.size() / 3);
  const int status =
      TIFFRGBAImageGet(&source, pixels.data(), static_cast<std::uint32_t>(layout.width),
                       static_cast<std::uint32_t>(layout.height));
  TIFFRGBAImageEnd(&source);
  reader.require(status == 1);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    image.rgb[3 * i] = static_cast<std::uint8_t>(TIFFGetR(pixels[i]));
    image.rgb[3 * i + 1] = static_cast<std::uint8_t>(TIFFGetG(pixels[i]));
    image.rgb[3 * i + 2] = static_cast<std::uint8_t>(TIFFGetB(pixels[i]));
  }
  return image;
}

// A TIFF file is what an EXIF block holds; of a BigTIFF, which none is, libtiff reads the number.
int tiff_orientation(TiffReader& reader, std::span<const std::byte> bytes) {
  std::optional<int> orientation;
  if (TIFFIsBigTIFF(reader.file()) == 0) {
    orientation = exif_orientation(bytes);
  } else if (std::uint16_t value = 0;
             TIFFGetField(reader.file(), TIFFTAG_ORIENTATION, &value) == 1) {
    orientation = value;
  }
  if (orientation) return *orientation;
  std::uint32_t size = 0;
  const char* xmp = nullptr;
  if (TIFFGetField(reader.file(), TIFFTAG_XMLPACKET, &size, &xmp) != 1 || xmp == nullptr) return 0;
  return xmp_orientation({xmp, size});
}

TiffPalette read_tiff_palette(TiffReader& reader, const TiffLayout& layout) {
  TiffPalette palette{};
  if (layout.photometric != PHOTOMETRIC_PALETTE) return palette;
  const std::uint16_t* planes[3] = {};
  reader.require(
      TIFFGetField(reader.file(), TIFFTAG_COLORMAP, &planes[0], &planes[1], &planes[2]) == 1);
  for (int i = 0; i < 1 << layout.bits; ++i) {
    for (int c = 0; c < 3; ++c) palette[i][c] = static_cast<std::uint8_t>(planes[c][i] >> 8);
  }
  return palette;
}

}  // namespace

Decoded decode_tiff(std::span<const std::byte> bytes, const std::string& where,
                    SixteenBit sixteen_bit, const ImageLimits& limits) {
  TiffReader reader(bytes, where, limits.max_bytes);
  TiffLayout layout = read_tiff_layout(reader, where);
  if (layout.photometric == PHOTOMETRIC_RGB && layout.extra.size() == 1 && layout.extra[0] == 0 &&
      !has_tiff_tag(bytes, TIFFTAG_EXTRASAMPLES)) {
    layout.extra[0] = EXTRASAMPLE_UNASSALPHA;  // what Pillow takes the fourth for
  }
  check_size(layout.width, layout.height, std::max(4, layout.samples * layout.sample_bytes()),
             where, limits);
  check_tiff_bytes(layout, bytes.size(), where);
  const int orientation = tiff_orientation(reader, bytes);
  const bool jpeg = layout.compression == COMPRESSION_JPEG;
  if (layout.photometric == PHOTOMETRIC_YCBCR && layout.samples == 3) {
    if (!jpeg) return {read_ycbcr(reader, layout), orientation};
    if (layout.separate) refuse_tiff("JPEG in separate planes", where);
    reader.require(TIFFSetField(reader.file(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB) == 1);
    layout.photometric = PHOTOMETRIC_RGB;
  }
  const TiffPalette palette = read_tiff_palette(reader, layout);
  std::vector<std::uint8_t> samples(
      static_cast<std::size_t>(layout.width * layout.height) *
      static_cast<std::size_t>(layout.samples * layout.sample_bytes()));
  if (TIFFIsTiled(reader.file()) != 0) {
    read_tiles(reader, layout, where, limits, samples);
  } else {
    read_strips(reader, layout, where, limits, samples);
  }
  return {tiff_to_rgb(std::move(samples), layout, palette, sixteen_bit, where), orientation};
}

}  // namespace blip2
