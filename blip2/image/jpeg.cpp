#include <fmt/format.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <optional>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/image/codecs_internal.h"
#include "blip2/image/orientation_internal.h"

#include <jpeglib.h>  // needs size_t and FILE from <cstdio>
// after jpeglib.h
#include <jerror.h>

namespace blip2 {
namespace {

// More scans than any encoder writes, few enough that a hostile file ends soon.
constexpr int kMaxScans = 100;

// What kind of JPEG the error says this libjpeg has no decoder for; empty if it is another error.
std::string_view unsupported_kind(const jpeg_error_mgr& error) {
  const int parameter = error.msg_parm.i[0];
  switch (error.msg_code) {
    case JERR_SOF_UNSUPPORTED:
      if (parameter == 0xc3) return "lossless JPEG (SOF3)";
      if (parameter == 0xcb) return "lossless JPEG with arithmetic coding (SOF11)";
      return "hierarchical JPEG";
    case JERR_UNKNOWN_MARKER:
      return parameter == 0xf7 ? "JPEG-LS (SOF55)" : "";
    case JERR_BAD_PRECISION:
      return "JPEG of other than 8 bits a sample";
    case JERR_ARITH_NOTIMPL:
      return "JPEG with arithmetic coding";
    case JERR_NOT_COMPILED:
    case JERR_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
      return "JPEG of this kind";
    default:
      return "";
  }
}

// libjpeg reports errors by calling back; the callback jumps to guard(), which throws. Between the
// two lie only libjpeg's frames and the callable's, none of which holds anything to destroy.
class JpegReader {
 public:
  JpegReader(std::span<const std::byte> bytes, const std::string& where) : where_(where) {
    info_.err = jpeg_std_error(&errors_);
    errors_.error_exit = [](j_common_ptr info) { self(info).fail(); };
    errors_.emit_message = [](j_common_ptr info, int level) {
      if (level < 0 && damages_pixels(info->err->msg_code)) self(info).fail();
    };
    info_.client_data = this;
    guard([this] { jpeg_create_decompress(&info_); });
    set_source(bytes);
    progress_.progress_monitor = [](j_common_ptr info) {
      if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) {
        self(info).fail("too many scans");
      }
    };
    info_.progress = &progress_;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  jpeg_decompress_struct& info() { return info_; }

  template <typename Call>
  void guard(const Call& call) {
    if (setjmp(jump_) != 0) {
      if (!unsupported_.empty()) {
        throw Error(fmt::format("{} is not supported", unsupported_), where_,
                    "save it as a baseline or progressive JPEG of 8 bits, or as PNG");
      }
      throw Error(fmt::format("damaged JPEG: {}", message_), where_);
    }
    call();
  }

 private:
  static JpegReader& self(j_common_ptr info) {
    return *static_cast<JpegReader*>(info->client_data);
  }

  // Whether a warning means that pixels were made up; the others are about metadata or padding.
  static bool damages_pixels(int code) {
    return code == JWRN_ARITH_BAD_CODE || code == JWRN_BOGUS_PROGRESSION ||
           code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_JPEG_EOF ||
           code == JWRN_MUST_RESYNC || code == JWRN_NOT_SEQUENTIAL;
  }

  [[noreturn]] void fail() {
    unsupported_ = unsupported_kind(errors_);
    errors_.format_message(reinterpret_cast<j_common_ptr>(&info_), message_);
    std::longjmp(jump_, 1);
  }
  [[noreturn]] void fail(const char* message) {
    std::snprintf(message_, sizeof message_, "%s", message);
    std::longjmp(jump_, 1);
  }

  void set_source(std::span<const std::byte> bytes) {
    source_.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
    source_.bytes_in_buffer = bytes.size();
    source_.init_source = [](j_decompress_ptr) {};
    source_.term_source = [](j_decompress_ptr) {};
    source_.fill_input_buffer = [](j_decompress_ptr info) -> boolean {
      self(reinterpret_cast<j_common_ptr>(info)).fail("the file is cut short");
    };
    source_.skip_input_data = [](j_decompress_ptr info, long count) {
      if (count <= 0) return;
      if (static_cast<std::size_t>(count) > info->src->bytes_in_buffer) {
        self(reinterpret_cast<j_common_ptr>(info)).fail("the file is cut short");
      }
      info->src->next_input_byte += count;
      info->src->bytes_in_buffer -= static_cast<std::size_t>(count);
    };
    source_.resync_to_restart = jpeg_resync_to_restart;
    info_.src = &source_;
  }

  const std::string& where_;
  jpeg_decompress_struct info_{};
  jpeg_error_mgr errors_{};
  jpeg_source_mgr source_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf jump_{};
  char message_[JMSG_LENGTH_MAX] = {};
  std::string_view unsupported_;  // what the file is, if libjpeg has no decoder for it
};

bool starts_with(const jpeg_marker_struct& marker, std::string_view prefix) {
  return marker.data_length >= prefix.size() &&
         std::memcmp(marker.data, prefix.data(), prefix.size()) == 0;
}

// Fills in the EXIF block and the orientation, which it says or else XMP.
void read_metadata(const jpeg_marker_struct* marker, Decoded& decoded) {
  using namespace std::string_view_literals;
  constexpr auto kExif = "Exif\0\0"sv, kXmp = "http://ns.adobe.com/xap/1.0/\0"sv;
  std::string_view xmp;
  for (; marker != nullptr; marker = marker->next) {
    const auto* data = reinterpret_cast<const std::byte*>(marker->data);
    if (starts_with(*marker, kExif)) {
      // It may be spread over several markers.
      decoded.exif.insert(decoded.exif.end(), data + kExif.size(), data + marker->data_length);
    } else if (starts_with(*marker, kXmp)) {
      xmp = {reinterpret_cast<const char*>(data), marker->data_length};
    }
  }
  const std::optional<int> orientation = exif_orientation(decoded.exif);
  decoded.orientation = orientation ? *orientation : xmp_orientation(xmp);
}

// Two bytes of a coefficient for each sample where all scans are kept until the last one.
void check_header(const jpeg_decompress_struct& info, std::size_t file_bytes,
                  const std::string& where, const ImageLimits& limits) {
  check_size(info.image_width, info.image_height, info.progressive_mode ? 8 : 4, where, limits);
  // A Huffman-coded block of 64 samples has at least one bit, and some component has at least a
  // fourth of the samples; less is a header that lies.
  const std::uint64_t pixels = std::uint64_t{info.image_width} * info.image_height;
  if (!info.arith_code && pixels > 2048 * std::uint64_t{file_bytes}) {
    throw Error(fmt::format("damaged JPEG: {} bytes cannot hold {} x {} pixels", file_bytes,
                            info.image_width, info.image_height),
                where);
  }
  const int components = info.num_components;
  if (components != 1 && components != 3 && components != 4) {
    throw Error(fmt::format("the JPEG has {} components, not 1, 3 or 4", components), where);
  }
}

// CMYK of Adobe's inverted kind, as Pillow takes every file with four components.
void cmyk_to_rgb(const std::uint8_t* cmyk, std::uint8_t* rgb, int width) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    for (int c = 0; c < 3; ++c) {
      rgb[c] = static_cast<std::uint8_t>(cmyk[3] - product(255u - cmyk[c], cmyk[3]));
    }
  }
}

void grey_to_rgb(const std::uint8_t* grey, std::uint8_t* rgb, int width) {
  for (int x = 0; x < width; ++x, rgb += 3) std::memset(rgb, grey[x], 3);
}

void read_rows(JpegReader& reader, Image& image) {
  jpeg_decompress_struct& info = reader.info();
  const int components = info.out_color_components;
  std::vector<std::uint8_t> row(static_cast<std::size_t>(image.width) * 4);
  for (int y = 0; y < image.height; ++y) {
    std::uint8_t* rgb = image.rgb.data() + std::size_t{3} * image.width * y;
    JSAMPROW target = components == 3 ? rgb : row.data();
    reader.guard([&info, &target] { jpeg_read_scanlines(&info, &target, 1); });
    if (components == 1) grey_to_rgb(row.data(), rgb, image.width);
    if (components == 4) cmyk_to_rgb(row.data(), rgb, image.width);
  }
}

}  // namespace

Decoded decode_jpeg(std::span<const std::byte> bytes, const std::string& where,
                    const ImageLimits& limits) {
  JpegReader reader(bytes, where);
  jpeg_decompress_struct& info = reader.info();
  reader.guard([&info] {
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&info, TRUE);
  });
  check_header(info, bytes.size(), where, limits);
  info.mem->max_memory_to_use = static_cast<long>(limits.max_bytes);
  info.out_color_space = info.num_components == 1   ? JCS_GRAYSCALE
                         : info.num_components == 3 ? JCS_RGB
                                                    : JCS_CMYK;
  Decoded decoded;
  read_metadata(info.marker_list, decoded);
  reader.guard([&info] { jpeg_start_decompress(&info); });
  decoded.image =
      blank_image(static_cast<int>(info.output_width), static_cast<int>(info.output_height));
  read_rows(reader, decoded.image);
  return decoded;
}

}  // namespace blip2
