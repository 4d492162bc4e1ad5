// Damaged and hostile picture files: one clear Error each, quickly, never more than that.
#include <gmock/gmock.h>
#include <webp/encode.h>

#include <chrono>
#include <cstdio>
#include <functional>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/image/codecs_internal.h"
#include "blip2/image/image.h"
#include "blip2/image/transform.h"
#include "blip2/image/written_pictures_test.h"

#include <jpeglib.h>
#include <zlib.h>

namespace blip2 {
namespace {

using testing::HasSubstr;
using Bytes = std::string;

Image decode(const Bytes& file, const ImageLimits& limits = {}) {
  return decode_image(std::as_bytes(std::span(file)), "picture", SixteenBit::cut, limits);
}

// The error's text, or "none"; fails the test if that takes long.
std::string error_of(const Bytes& file, const ImageLimits& limits = {}) {
  const auto start = std::chrono::steady_clock::now();
  std::string text = "none";
  try {
    decode(file, limits);
  } catch (const Error& error) {
    text = error.what();
    EXPECT_EQ(error.where(), "picture");
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  return text;
}

Image noise(int width, int height) {
  Image image = blank_image(width, height);
  Random random(7);
  for (auto& value : image.rgb) value = static_cast<std::uint8_t>(random.below(256));
  return image;
}

Bytes jpeg_of(const Image& image, bool progressive) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = static_cast<unsigned>(image.width);
  info.image_height = static_cast<unsigned>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  if (progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  for (int y = 0; y < image.height; ++y) {
    auto* row = const_cast<JSAMPLE*>(image.rgb.data() + 3 * y * image.width);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  Bytes file(reinterpret_cast<char*>(buffer), size);
  std::free(buffer);
  return file;
}

Bytes webp_of(const Image& image, bool lossless) {
  std::uint8_t* buffer = nullptr;
  const std::size_t size = lossless ? WebPEncodeLosslessRGB(image.rgb.data(), image.width,
                                                            image.height, 3 * image.width, &buffer)
                                    : WebPEncodeRGB(image.rgb.data(), image.width, image.height,
                                                    3 * image.width, 70, &buffer);
  Bytes file(reinterpret_cast<char*>(buffer), size);
  WebPFree(buffer);
  return file;
}

std::vector<std::pair<std::string, Bytes>> samples() {
  const Image image = noise(37, 29);
  std::vector<std::pair<std::string, Bytes>> all{{"baseline", jpeg_of(image, false)},
                                                 {"progressive", jpeg_of(image, true)},
                                                 {"png", encode_png(image)},
                                                 {"webp", webp_of(image, false)},
                                                 {"lossless webp", webp_of(image, true)}};
  for (auto& file : written_pictures()) all.push_back(std::move(file));
  return all;
}

TEST(Hostile, TruncatedFilesAreErrors) {
  for (const auto& [name, file] : samples()) {
    EXPECT_EQ(error_of(file), "none") << name;
    for (std::size_t size = 0; size + 7 < file.size(); size += 1 + size / 40) {
      EXPECT_NE(error_of(file.substr(0, size)), "none") << name << " cut to " << size;
    }
    // Of run lengths and faxes the marks of the end may be missing.
    const std::size_t marks = name == "rle bmp" || name == "group 4 tiff" ? 4 : 0;
    EXPECT_NE(error_of(file.substr(0, file.size() - 3 - marks)), "none") << name;
  }
}

TEST(Hostile, FlippedBitsNeverCrash) {
  Random random(11);
  for (const auto& [name, file] : samples()) {
    for (int i = 0; i < 400; ++i) {
      Bytes damaged = file;
      for (std::uint64_t flips = 1 + random.below(4); flips > 0; --flips) {
        damaged[random.below(file.size())] ^= static_cast<char>(1 << random.below(8));
      }
      error_of(damaged, {1 << 20, 1 << 24});
    }
  }
}

TEST(Hostile, WrongMagicAndEmptyFiles) {
  EXPECT_THAT(error_of(""), HasSubstr("empty"));
  EXPECT_THAT(error_of("GIF89a..............."), HasSubstr("damaged GIF"));
  EXPECT_THAT(error_of("GIF88a..............."), HasSubstr("not a JPEG, PNG, WebP, GIF, BMP"));
  EXPECT_THAT(error_of("BM"), HasSubstr("damaged BMP: the file is cut short"));
  EXPECT_THAT(error_of(Bytes("II*\0", 4)), HasSubstr("damaged TIFF"));
  EXPECT_THAT(error_of(Bytes("\0\0\0\x1c", 4) + "ftypavif"), HasSubstr("damaged AVIF"));
  EXPECT_THAT(error_of(Bytes("\0\0\0\x1c", 4) + "ftypheic"), HasSubstr("damaged HEIC"));
  EXPECT_THAT(error_of("RIFF1234WAVE"), HasSubstr("not a JPEG, PNG, WebP, GIF, BMP"));
  EXPECT_THAT(error_of("\xff\xd8\xff"), HasSubstr("cut short"));
  EXPECT_THAT(error_of("\x89PNG\r\n\x1a\n"), HasSubstr("cut short"));
  EXPECT_THAT(error_of(Bytes("RIFF\4\0\0\0WEBP", 12)), HasSubstr("damaged WebP"));
  EXPECT_THAT(error_of(Bytes(1 << 16, '\0')), HasSubstr("not a JPEG"));
}

// A JPEG of one grey component with these sizes in its header.
Bytes jpeg_with_size(unsigned width, unsigned height) {
  Bytes file = jpeg_of(noise(16, 16), false);
  const std::size_t frame = file.find("\xff\xc0");
  file[frame + 5] = static_cast<char>(height >> 8);
  file[frame + 6] = static_cast<char>(height);
  file[frame + 7] = static_cast<char>(width >> 8);
  file[frame + 8] = static_cast<char>(width);
  return file;
}

Bytes big_endian(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

Bytes chunk(const Bytes& kind, const Bytes& data) {
  const Bytes body = kind + data;
  const auto crc =
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<unsigned>(body.size()));
  return big_endian(static_cast<std::uint32_t>(data.size())) + body +
         big_endian(static_cast<std::uint32_t>(crc));
}

Bytes deflated(const Bytes& data) {
  uLongf size = compressBound(data.size());
  Bytes out(size, '\0');
  compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(data.data()),
           data.size());
  out.resize(size);
  return out;
}

Bytes png_with(std::uint32_t width, std::uint32_t height, char depth, char colour,
               const Bytes& pixels, const Bytes& more = "") {
  const Bytes header = big_endian(width) + big_endian(height) + depth + colour + Bytes(3, '\0');
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", header) + more + chunk("IDAT", deflated(pixels)) +
         chunk("IEND", "");
}

TEST(Hostile, EmptyAndGiantSizes) {
  EXPECT_NE(error_of(jpeg_with_size(0, 16)), "none");
  EXPECT_NE(error_of(jpeg_with_size(16, 0)), "none");
  EXPECT_THAT(error_of(jpeg_with_size(65000, 65000)), HasSubstr("the limit is 178956970 pixels"));
  EXPECT_THAT(error_of(jpeg_with_size(13000, 13000)), HasSubstr("cannot hold"));
  EXPECT_NE(error_of(png_with(0, 5, 8, 2, "")), "none");
  EXPECT_NE(error_of(png_with(5, 0, 8, 2, "")), "none");
  EXPECT_THAT(error_of(png_with(0x7fffffff, 0x7fffffff, 16, 6, "")), HasSubstr("the limit is"));
  EXPECT_NE(error_of(png_with(0xffffffff, 1, 8, 2, "")), "none");
  EXPECT_THAT(error_of(png_with(13000, 13000, 8, 2, "")), HasSubstr("cannot hold"));
  Bytes webp = webp_of(noise(16, 16), true);  // VP8L: 14 bits of width-1, 14 of height-1
  webp[21] = webp[22] = webp[23] = '\xff';
  webp[24] = '\x0f';
  EXPECT_THAT(error_of(webp), HasSubstr("the limit is"));
}

TEST(Hostile, LimitsAreTheCallers) {
  const Bytes file = encode_png(noise(20, 10));
  EXPECT_EQ(error_of(file, {200, 1 << 20}), "none");
  EXPECT_THAT(error_of(file, {199, 1 << 20}), HasSubstr("the limit is 199 pixels"));
  EXPECT_THAT(error_of(file, {200, 599}), HasSubstr("limit"));
  EXPECT_THAT(error_of(jpeg_of(noise(200, 100), true), {1 << 20, 20000}), HasSubstr("limit"));
}

TEST(Hostile, PngBombsAndBadChecksums) {
  const Bytes bomb = png_with(20000, 20000, 1, 0, Bytes(1 << 20, '\0'));
  EXPECT_LT(bomb.size(), 100000u);
  EXPECT_THAT(error_of(bomb), HasSubstr("the limit is"));
  const Bytes text = Bytes("comment\0\0", 9) + deflated(Bytes(20 << 20, 'x'));
  error_of(png_with(1, 1, 8, 0, Bytes(2, '\0'), chunk("zTXt", text)));  // not unpacked in full
  EXPECT_THAT(error_of(png_with(4, 4, 8, 0, Bytes(12, '\0'))), HasSubstr("damaged PNG"));
  EXPECT_THAT(error_of(png_with(4, 4, 3, 0, Bytes(20, '\0'))), HasSubstr("damaged PNG"));
  EXPECT_THAT(error_of(png_with(4, 4, 8, 3, Bytes(20, '\0'))), HasSubstr("damaged PNG"));
  const Bytes file = encode_png(noise(9, 9));
  for (const char* kind : {"IHDR", "IDAT", "IEND"}) {
    const std::size_t at = file.find(kind) - 4;
    const auto* length = reinterpret_cast<const std::uint8_t*>(file.data() + at);
    const std::size_t crc = at + 8 + (length[2] << 8 | length[3]);
    Bytes damaged = file;
    damaged[crc] ^= 1;
    EXPECT_THAT(error_of(damaged), HasSubstr("damaged PNG")) << kind;
  }
}

TEST(Hostile, KindsWithoutADecoderAreNamed) {
  const Bytes file = jpeg_of(noise(16, 16), false);
  const std::size_t frame = file.find("\xff\xc0");
  const auto with = [&](std::size_t offset, char byte) {
    Bytes other = file;
    other[frame + offset] = byte;
    return error_of(other);
  };
  EXPECT_THAT(with(1, '\xc3'), HasSubstr("lossless JPEG (SOF3) is not supported"));
  EXPECT_THAT(with(1, '\xcb'), HasSubstr("lossless JPEG with arithmetic coding (SOF11)"));
  for (const char kind : {'\xc5', '\xc6', '\xc7', '\xcd', '\xce', '\xcf'}) {
    EXPECT_THAT(with(1, kind), HasSubstr("hierarchical JPEG is not supported"));
  }
  EXPECT_THAT(with(1, '\xf7'), HasSubstr("JPEG-LS (SOF55) is not supported"));
  EXPECT_THAT(with(4, 12), HasSubstr("other than 8 bits a sample is not supported"));
}

// Seconds and pixels of a picture whose preprocessing keeps little of what it would resize.
TEST(Hostile, LongPicturesCostNoMoreThanOthers) {
  Preprocessing p;
  p.shortest_edge = p.width = p.height = 224;
  for (const Resampler processor : {Resampler::pillow, Resampler::torchvision}) {
    p.processor = processor;
    for (const auto& [width, height] : {std::pair(1, 60000), {60000, 1}, {1, 20'000'000}}) {
      Image image = blank_image(width, height);
      std::fill(image.rgb.begin(), image.rgb.end(), std::uint8_t{77});
      const auto start = std::chrono::steady_clock::now();
      EXPECT_THAT(fit(image, p).rgb, testing::Each(77));
      EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
    }
  }
  // Shrunk to a few pixels, it takes little beside the picture itself.
  const Image tall = blank_image(1, 20'000'000);
  EXPECT_EQ(resize(tall, 4, 4, Filter::bicubic), blank_image(4, 4));
}

TEST(Hostile, EndlessScans) {
  const Bytes file = jpeg_of(noise(64, 64), true);
  const std::size_t last = file.rfind("\xff\xda");
  Bytes scans = file.substr(0, last);
  for (int i = 0; i < 3000; ++i) scans += file.substr(last, file.size() - 2 - last);
  EXPECT_THAT(error_of(scans + "\xff\xd9"), HasSubstr("damaged JPEG"));
}

Bytes small_endian(std::uint64_t value, int count = 4) {
  Bytes bytes;
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(value >> 8 * i);
  return bytes;
}

Bytes written(const std::string& name) {
  for (auto& [written_name, file] : written_pictures()) {
    if (written_name == name) return file;
  }
  return {};
}

TEST(Hostile, GifsThatLie) {
  const auto gif = [](unsigned canvas, unsigned width, unsigned height, const Bytes& before = "") {
    return "GIF89a" + small_endian(canvas, 2) + small_endian(canvas, 2) + Bytes(3, '\0') + before +
           "," + Bytes(4, '\0') + small_endian(width, 2) + small_endian(height, 2) +
           Bytes("\0\2\2\x44\1\0;", 7);
  };
  EXPECT_EQ(error_of(gif(1, 1, 1)), "none");
  EXPECT_THAT(error_of(gif(65535, 1, 1)), HasSubstr("the limit is 178956970 pixels"));
  EXPECT_THAT(error_of(gif(1, 13000, 13000)), HasSubstr("cannot hold"));
  EXPECT_THAT(error_of(gif(1, 100, 100)), HasSubstr("damaged GIF"));
  EXPECT_THAT(error_of(gif(1, 0, 5)), HasSubstr("is empty"));
  EXPECT_THAT(error_of("GIF89a\1\1" + Bytes(5, '\1') + ";"), HasSubstr("damaged GIF"));
  Bytes blocks = "!\xfe";
  for (int i = 0; i < 20000; ++i) blocks += '\xff' + Bytes(255, 'x');
  EXPECT_EQ(error_of(gif(1, 1, 1, blocks + Bytes(1, '\0'))), "none");
  EXPECT_THAT(error_of(gif(1, 1, 1, blocks)), HasSubstr("damaged GIF"));
}

TEST(Hostile, BmpsThatLie) {
  const Bytes file = written("bmp");
  const auto with = [&](std::size_t at, const Bytes& bytes) {
    Bytes other = file;
    return error_of(other.replace(at, bytes.size(), bytes));
  };
  EXPECT_THAT(with(18, small_endian(65000) + small_endian(65000)), HasSubstr("the limit is"));
  EXPECT_THAT(with(18, small_endian(0xffffffff)), HasSubstr("the limit is"));
  EXPECT_THAT(with(18, small_endian(13000) + small_endian(13000)), HasSubstr("cut short"));
  EXPECT_THAT(with(18, small_endian(0)), HasSubstr("is empty"));
  EXPECT_THAT(with(10, small_endian(0xffffffff)), HasSubstr("cut short"));
  EXPECT_THAT(with(14, small_endian(41)), HasSubstr("a header of 41 bytes is not supported"));
  EXPECT_THAT(with(28, small_endian(7, 2)), HasSubstr("7 bits a pixel is not supported"));
  EXPECT_THAT(with(30, small_endian(4)), HasSubstr("compression 4 is not supported"));
  EXPECT_THAT(with(30, small_endian(1)), HasSubstr("run lengths of 24 bits a pixel"));
  EXPECT_THAT(with(30, small_endian(3)), HasSubstr("these bit fields"));
  const Bytes many = small_endian(8, 2) + Bytes(16, '\0') + small_endian(0x7fffffff);
  EXPECT_THAT(with(28, many), HasSubstr("2147483647 colours in its palette"));
}

// A TIFF of one directory at byte 8 whose entries are {tag, value}, followed by `next`.
Bytes tiff_with(const std::vector<std::pair<int, std::uint32_t>>& entries, std::uint32_t next = 0) {
  Bytes file = Bytes("II*\0", 4) + small_endian(8) + small_endian(entries.size(), 2);
  for (const auto& [tag, value] : entries) {
    file += small_endian(tag, 2) + small_endian(4, 2) + small_endian(1) + small_endian(value);
  }
  return file + small_endian(next) + Bytes(4, 'p');
}

TEST(Hostile, TiffsThatLie) {
  const auto grey = [](std::uint32_t width, std::uint32_t height, std::uint32_t next = 0,
                       std::uint32_t compression = 1) {
    return tiff_with({{256, width},
                      {257, height},
                      {258, 8},
                      {259, compression},
                      {262, 1},
                      {273, 8},
                      {277, 1},
                      {278, height},
                      {279, width * height}},
                     next);
  };
  EXPECT_EQ(error_of(grey(2, 2)), "none");
  EXPECT_EQ(error_of(grey(2, 2, 8)), "none");  // the directory follows itself
  EXPECT_THAT(error_of(grey(65000, 65000)), HasSubstr("the limit is"));
  EXPECT_THAT(error_of(grey(13000, 13000)), HasSubstr("cannot hold"));
  EXPECT_THAT(error_of(grey(100, 100)), HasSubstr("damaged TIFF"));
  EXPECT_NE(error_of(grey(0, 2)), "none");
  EXPECT_THAT(error_of(grey(2, 2, 0, 6)), HasSubstr("compression 6 is not supported"));
  EXPECT_THAT(error_of(tiff_with({{256, 2}, {257, 2}, {258, 8}, {262, 8}, {273, 8}, {279, 4}})),
              HasSubstr("photometric interpretation 8 is not supported"));
  EXPECT_THAT(error_of(tiff_with({{256, 2}, {257, 2}, {258, 7}, {262, 1}, {273, 8}, {279, 4}})),
              HasSubstr("1 samples of 7 bits"));
  for (const std::uint32_t side : {16u, 65536u, 0x7ffffff0u}) {  // of its tiles
    const Bytes tiled = tiff_with({{256, 2},
                                   {257, 2},
                                   {258, 8},
                                   {259, 8},
                                   {262, 1},
                                   {277, 1},
                                   {322, side},
                                   {323, side},
                                   {324, 8},
                                   {325, 40}});
    EXPECT_NE(error_of(tiled), "none") << side;
  }
  EXPECT_NE(error_of(Bytes("II*\0", 4) + small_endian(0xfffffff0)), "none");
  EXPECT_NE(error_of(Bytes("II*\0", 4) + small_endian(8) + Bytes(70000, '\xff')), "none");
}

TEST(Hostile, HeadersOfAvifAndHeicThatLie) {
  for (const char* name : {"avif", "heic"}) {
    const Bytes file = written(name);
    const std::size_t size = file.find("ispe") + 8;
    for (const std::uint32_t side : {0u, 32767u, 65535u, 0xffffffffu}) {
      Bytes other = file;
      other.replace(size, 8, big_endian(side) + big_endian(side));
      EXPECT_NE(error_of(other), "none") << name << " of side " << side;
    }
    const std::int64_t stored = std::string(name) == "heic" ? 64 * 64 : 16 * 16;
    EXPECT_EQ(error_of(file, {stored, 1 << 20}), "none") << name;
    EXPECT_NE(error_of(file, {stored - 1, 1 << 20}), "none") << name;
  }
}

TEST(Hostile, HeicStreamsThatLie) {
  const Bytes file = heic_of_a_huge_stream();
  EXPECT_THAT(error_of(file), HasSubstr("the limit is 178956970 pixels"));
  EXPECT_THAT(error_of(file, {std::int64_t{1} << 33, 1 << 30}), HasSubstr("cannot hold"));
}

TEST(Hostile, MissingFile) {
  EXPECT_THROW(load_image("/nonexistent/picture.png"), Error);
  EXPECT_THROW(load_image("/tmp"), Error);
}

}  // namespace
}  // namespace blip2
