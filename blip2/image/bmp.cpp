#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/image/codecs_internal.h"

// Windows' and OS/2's bitmaps, read as Pillow's BmpImagePlugin reads them.
namespace blip2 {
namespace {

constexpr std::size_t kBmpFileHeader = 14;

// The file's bytes; a place beyond its end is an Error.
class BmpBytes {
 public:
  BmpBytes(std::span<const std::byte> bytes, const std::string& where)
      : bytes_(bytes), where_(where) {}

  std::size_t size() const { return bytes_.size(); }
  const std::uint8_t* at(std::size_t offset, std::size_t count) const {
    if (offset > bytes_.size() || count > bytes_.size() - offset) {
      throw Error("damaged BMP: the file is cut short", where_);
    }
    return reinterpret_cast<const std::uint8_t*>(bytes_.data()) + offset;
  }
  std::uint32_t u16(std::size_t offset) const {
    const std::uint8_t* byte = at(offset, 2);
    return byte[0] | byte[1] << 8;
  }
  std::uint32_t u32(std::size_t offset) const { return u16(offset) | u16(offset + 2) << 16; }

 private:
  std::span<const std::byte> bytes_;
  const std::string& where_;
};

enum class BmpCoding : std::uint32_t { plain = 0, rle8 = 1, rle4 = 2, masks = 3 };

struct BmpHeader {
  std::int64_t width = 0, height = 0;
  bool top_down = false;
  int bits = 0;
  BmpCoding coding = BmpCoding::plain;
  std::array<std::uint32_t, 4> masks{};  // red, green, blue, alpha (0: there is none)
  std::size_t colours = 0, colour_bytes = 4;
  std::size_t palette_at = 0, pixels_at = 0;
};

[[noreturn]] void refuse_bmp(const std::string& what, const std::string& where) {
  throw Error(fmt::format("BMP with {} is not supported", what), where, "save it as PNG");
}

void read_windows_header(const BmpBytes& file, std::uint32_t size, BmpHeader& header,
                         const std::string& where) {
  const std::uint32_t height = file.u32(22), coding = file.u32(30);
  header.width = file.u32(18);
  header.top_down = height >> 24 == 0xff;
  header.height = header.top_down ? (std::int64_t{1} << 32) - height : height;
  header.bits = static_cast<int>(file.u16(28));
  if (coding > 3) refuse_bmp(fmt::format("compression {}", coding), where);
  header.coding = static_cast<BmpCoding>(coding);
  header.colours = file.u32(46);
  if (header.coding != BmpCoding::masks) return;
  const int masks = size >= 56 ? 4 : 3;
  for (int i = 0; i < masks; ++i) header.masks[i] = file.u32(54 + 4 * std::size_t(i));
  if (size < 52) header.palette_at += 12;  // the masks stand behind the header
}

BmpHeader read_header(const BmpBytes& file, const std::string& where) {
  BmpHeader header;
  const std::uint32_t size = file.u32(kBmpFileHeader);
  header.palette_at = kBmpFileHeader + size;
  if (size == 12) {
    header.width = file.u16(18);
    header.height = file.u16(20);
    header.bits = static_cast<int>(file.u16(24));
    header.colour_bytes = 3;
  } else if (size == 40 || size == 52 || size == 56 || size == 64 || size == 108 || size == 124) {
    file.at(kBmpFileHeader, size);
    read_windows_header(file, size, header, where);
  } else {
    refuse_bmp(fmt::format("a header of {} bytes", size), where);
  }
  if (header.colours == 0 && header.bits <= 8) header.colours = std::size_t{1} << header.bits;
  header.pixels_at = file.u32(10);
  const std::size_t palette = header.bits <= 8 ? header.colour_bytes * header.colours : 0;
  if (header.pixels_at == kBmpFileHeader + size) header.pixels_at += palette;
  if (header.pixels_at == 0) header.pixels_at = header.palette_at + palette;
  return header;
}

// The layouts that Pillow takes.
bool known_masks(const BmpHeader& header) {
  using Masks = std::array<std::uint32_t, 4>;
  static constexpr Masks k32[] = {
      {0xff0000, 0xff00, 0xff, 0},          {0xff000000, 0xff0000, 0xff00, 0},
      {0xff000000, 0xff00, 0xff, 0},        {0xff000000, 0xff0000, 0xff00, 0xff},
      {0xff, 0xff00, 0xff0000, 0xff000000}, {0xff0000, 0xff00, 0xff, 0xff000000},
      {0xff000000, 0xff00, 0xff, 0xff0000}, {0, 0, 0, 0}};
  const Masks colours{header.masks[0], header.masks[1], header.masks[2], 0};
  if (header.bits == 32) return std::ranges::find(k32, header.masks) != std::end(k32);
  if (header.bits == 24) return colours == Masks{0xff0000, 0xff00, 0xff, 0};
  return header.bits == 16 &&
         (colours == Masks{0xf800, 0x7e0, 0x1f, 0} || colours == Masks{0x7c00, 0x3e0, 0x1f, 0});
}

void check_header(const BmpHeader& header, const std::string& where, const ImageLimits& limits) {
  check_size(header.width, header.height, 3, where, limits);
  static constexpr int kBits[] = {1, 4, 8, 16, 24, 32};
  if (std::ranges::find(kBits, header.bits) == std::end(kBits)) {
    refuse_bmp(fmt::format("{} bits a pixel", header.bits), where);
  }
  if (header.coding == BmpCoding::masks && !known_masks(header)) {
    refuse_bmp("these bit fields", where);
  }
  const bool rle = header.coding == BmpCoding::rle8 || header.coding == BmpCoding::rle4;
  if (rle && header.bits != (header.coding == BmpCoding::rle8 ? 8 : 4)) {
    refuse_bmp(fmt::format("run lengths of {} bits a pixel", header.bits), where);
  }
  if (header.bits <= 8 && header.colours > 256) {
    refuse_bmp(fmt::format("{} colours in its palette", header.colours), where);
  }
}

// Indices beyond a palette's end are black, unless it says of each index what that says itself.
Palette bmp_palette(const BmpBytes& file, const BmpHeader& header) {
  Palette palette{};
  bool grey = header.colours > 2;
  const std::uint8_t* entry = file.at(header.palette_at, header.colours * header.colour_bytes);
  for (std::size_t i = 0; i < header.colours; ++i, entry += header.colour_bytes) {
    palette[i] = {entry[2], entry[1], entry[0]};
    grey = grey && entry[0] == i && entry[1] == i && entry[2] == i;
  }
  for (std::size_t i = 0; grey && i < 256; ++i) palette[i].fill(static_cast<std::uint8_t>(i));
  return palette;
}

// The rows' distance in the file: a multiple of 4 bytes.
std::size_t bmp_stride(const BmpHeader& header) {
  return ((static_cast<std::size_t>(header.width) * header.bits + 31) >> 3) & ~std::size_t{3};
}

// Row y of the picture; only the last one in the file may lack what fills it up.
const std::uint8_t* bmp_row(const BmpBytes& file, const BmpHeader& header, std::int64_t y) {
  const std::int64_t stored = header.top_down ? y : header.height - 1 - y;
  const std::size_t bytes = (static_cast<std::size_t>(header.width) * header.bits + 7) / 8;
  return file.at(header.pixels_at + static_cast<std::size_t>(stored) * bmp_stride(header), bytes);
}

void indices_of_row(const std::uint8_t* row, int bits, std::span<std::uint8_t> indices) {
  const std::size_t in_byte = 8 / static_cast<std::size_t>(bits);
  const unsigned top = (1u << bits) - 1;
  for (std::size_t x = 0; x < indices.size(); ++x) {
    const unsigned shift = 8 - static_cast<unsigned>(bits) * (x % in_byte + 1);
    indices[x] = static_cast<std::uint8_t>(row[x / in_byte] >> shift & top);
  }
}

// Expands run lengths as Pillow does: a run ends at its row's end, an absolute one may go on in the
// next row, and what is skipped is of index 0.
class BmpRuns {
 public:
  BmpRuns(const BmpBytes& file, const BmpHeader& header)
      : file_(file),
        width_(static_cast<std::size_t>(header.width)),
        size_(width_ * static_cast<std::size_t>(header.height)),
        at_(header.pixels_at),
        half_bytes_(header.coding == BmpCoding::rle4) {}

  // The indices in the order of the file.
  std::vector<std::uint8_t> expand() {
    out_.reserve(size_);
    while (out_.size() < size_ && !ended_) {
      const std::uint8_t* pair = take(2);
      if (pair[0] != 0) {
        run(pair[0], pair[1]);
      } else {
        escape(pair[1]);
      }
    }
    out_.resize(size_);
    return std::move(out_);
  }

 private:
  const std::uint8_t* take(std::size_t count) {
    const std::uint8_t* bytes = file_.at(at_, count);
    at_ += count;
    return bytes;
  }
  void put(const std::uint8_t* bytes, std::size_t count, bool repeated) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint8_t byte = bytes[repeated ? 0 : half_bytes_ ? i / 2 : i];
      out_.push_back(!half_bytes_ ? byte : i % 2 == 0 ? byte >> 4 : byte & 15);
    }
  }
  std::size_t room() const { return size_ - out_.size(); }

  void run(std::size_t count, std::uint8_t byte) {
    count = std::min({count, width_ - std::min(column_, width_), room()});
    put(&byte, count, true);
    column_ += count;
  }

  void escape(std::uint8_t code) {
    if (code == 0) {  // the row's end
      out_.resize(std::min(size_, (out_.size() + width_ - 1) / width_ * width_));
      column_ = 0;
    } else if (code == 1) {
      ended_ = true;
    } else if (code == 2) {
      const std::uint8_t* move = take(2);
      out_.resize(out_.size() + std::min(room(), move[0] + move[1] * width_));
      column_ = out_.size() % width_;
    } else {
      const std::size_t count = std::min<std::size_t>(room(), code);
      put(take(half_bytes_ ? (count + 1) / 2 : count), count, false);
      column_ += code;
      if (at_ % 2 != 0) ++at_;
    }
  }

  const BmpBytes& file_;
  std::size_t width_, size_, at_, column_ = 0;
  bool half_bytes_, ended_ = false;
  std::vector<std::uint8_t> out_;
};

void read_indexed(const BmpBytes& file, const BmpHeader& header, Image& image) {
  const Palette palette = bmp_palette(file, header);
  const auto width = static_cast<std::size_t>(header.width);
  const bool plain = header.coding == BmpCoding::plain;
  const std::vector<std::uint8_t> runs =
      plain ? std::vector<std::uint8_t>() : BmpRuns(file, header).expand();
  std::vector<std::uint8_t> row(width);
  std::uint8_t* rgb = image.rgb.data();
  for (std::int64_t y = 0; y < header.height; ++y) {
    const std::int64_t stored = header.top_down ? y : header.height - 1 - y;
    if (plain) indices_of_row(bmp_row(file, header, y), header.bits, row);
    const std::uint8_t* index =
        plain ? row.data() : runs.data() + static_cast<std::size_t>(stored) * width;
    for (std::size_t x = 0; x < width; ++x, rgb += 3) std::memcpy(rgb, &palette[index[x]], 3);
  }
}

// Values of 5 or 6 bits are spread over 0 to 255, rounded down.
Colour colour_of_16(unsigned pixel, const std::array<std::uint32_t, 4>& masks) {
  Colour colour{};
  for (int c = 0; c < 3; ++c) {
    const int shift = std::countr_zero(masks[c]);
    const unsigned top = masks[c] >> shift;
    colour[c] = static_cast<std::uint8_t>((pixel >> shift & top) * 255 / top);
  }
  return colour;
}

// The masks by which the pixels are read where the header has none.
std::array<std::uint32_t, 4> masks_of(const BmpHeader& header) {
  const bool given = header.coding == BmpCoding::masks;
  if (header.bits == 16) {
    return given ? header.masks : std::array<std::uint32_t, 4>{0x7c00, 0x3e0, 0x1f, 0};
  }
  if (given && header.masks[0] != 0) return header.masks;
  return {0xff0000, 0xff00, 0xff, given ? 0xff000000 : 0};
}

void read_colours(const BmpBytes& file, const BmpHeader& header, Image& image) {
  const auto masks = masks_of(header);
  const int step = header.bits / 8;
  std::array<int, 4> place{};  // of the byte of each mask
  for (int c = 0; c < 4; ++c) place[c] = masks[c] == 0 ? -1 : std::countr_zero(masks[c]) / 8;
  std::uint8_t* rgb = image.rgb.data();
  for (std::int64_t y = 0; y < header.height; ++y) {
    const std::uint8_t* pixel = bmp_row(file, header, y);
    for (std::int64_t x = 0; x < header.width; ++x, pixel += step, rgb += 3) {
      Colour colour = step == 2 ? colour_of_16(pixel[0] | pixel[1] << 8, masks)
                                : Colour{pixel[place[0]], pixel[place[1]], pixel[place[2]]};
      for (int c = 0; c < 3; ++c) {
        rgb[c] = step == 4 && place[3] >= 0 ? over_white(colour[c], pixel[place[3]]) : colour[c];
      }
    }
  }
}

}  // namespace

Decoded decode_bmp(std::span<const std::byte> bytes, const std::string& where,
                   const ImageLimits& limits) {
  const BmpBytes file(bytes, where);
  const BmpHeader header = read_header(file, where);
  check_header(header, where, limits);
  const bool plain = header.coding == BmpCoding::plain || header.coding == BmpCoding::masks;
  if (plain) bmp_row(file, header, header.top_down ? header.height - 1 : 0);  // the file's last row
  Image image = blank_image(static_cast<int>(header.width), static_cast<int>(header.height));
  if (header.bits <= 8) {
    read_indexed(file, header, image);
  } else {
    read_colours(file, header, image);
  }
  return {std::move(image)};
}

}  // namespace blip2
