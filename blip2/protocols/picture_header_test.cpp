#include "blip2/protocols/picture_header.h"

#include <span>

#include "blip2/protocols/requests_test.h"

namespace blip2 {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;

std::string fault(const std::string& bytes, const PictureRules& rules = {}) {
  return refusal([&] { check_picture(bytes, rules, "picture"); });
}

// A JPEG up to its frame header: APP0, a comment, fill bytes, then SOF2 of 7 x 5 pixels.
const std::string kJpeg =
    "\xff\xd8\xff\xe0\0\x04..\xff\xfe\0\x06wxyz\xff\xff\xff\xc2\0\x11\x08\0\x05\0\x07\x03......"s;
const std::string kVp8 = "RIFF....WEBPVP8 ....\x10\x02\0\x9d\x01\x2a\x07\x40\x05\xc0"s;
const std::string kVp8l = "RIFF....WEBPVP8L....\x2f\x06\x00\x01\x00......"s;  // 6 | 4 << 14
const std::string kVp8x = "RIFF....WEBPVP8X....\0\0\0\0\x06\0\0\x04\0\0"s;
const std::string kGif = "GIF89a\7\0\5\0\0\0\0"s;
const std::string kBmp = "BM............\x28\0\0\0\7\0\0\0\5\0\0\0"s;
const std::string kTopDownBmp = "BM............\x28\0\0\0\7\0\0\0\xfb\xff\xff\xff"s;
const std::string kOldBmp = "BM............\x0c\0\0\0\7\0\5\0...."s;
const std::string kTiff = "II*\0\x08\0\0\0\2\0\0\1\3\0\1\0\0\0\7\0\0\0\1\1\4\0\1\0\0\0\5\0\0\0"s;
const std::string kBigTiff = "MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10"s + "\0\0\0\0\0\0\0\2"s +
                             "\1\0\0\4\0\0\0\0\0\0\0\1\0\0\0\7...."s +
                             "\1\1\0\3\0\0\0\0\0\0\0\1\0\5......"s;

std::string box(const std::string& kind, const std::string& content) {
  const std::size_t size = 8 + content.size();
  return {"\0\0"s + static_cast<char>(size >> 8) + static_cast<char>(size) + kind + content};
}

// A file of the ISO kind with a tile of 2 x 3 pixels and a picture of 7 x 5.
std::string boxes(const std::string& types) {
  const std::string none(4, '\0'), tile = box("ispe", none + "\0\0\0\2\0\0\0\3"s),
                                   whole = box("ispe", none + "\0\0\0\7\0\0\0\5"s);
  return box("ftyp", types) + box("meta", none + box("iprp", box("ipco", tile + whole)));
}

const std::string kAvif = boxes("avif\0\0\0\0"s);
const std::string kHeic = boxes("mif1\0\0\0\0heic"s);

TEST(PictureHeader, ReadsTheSizeOfEachFormat) {
  for (const std::string& file : {kJpeg, kVp8, kVp8l, kVp8x, small_png(7, 5), kGif, kBmp, kOldBmp,
                                  kTopDownBmp, kTiff, kBigTiff, kAvif, kHeic}) {
    const PictureHeader header = check_picture(file, {}, "picture");
    EXPECT_EQ(header.width, 7) << file;
    EXPECT_EQ(header.height, 5) << file;
  }
  EXPECT_EQ(check_picture(kHeic, {}, "").format, PictureFormat::heic);
  EXPECT_EQ(check_picture(kJpeg, {}, "").format, PictureFormat::jpeg);
  EXPECT_EQ(check_picture(kVp8l, {}, "").format, PictureFormat::webp);
  EXPECT_EQ(check_picture(small_png(), {}, "").format, PictureFormat::png);
}

TEST(PictureHeader, SaysWhatOtherFilesAre) {
  const std::pair<std::string, const char*> cases[] = {
      {"\0\0\0\x18"s + "ftypmif1....", "a HEIF picture"},
      {"\0\0\0\x18"s + "ftypisom....", "a video"},
      {"<?xml version=\"1.0\"?>\n<!-- x -->\n<SVG xmlns=\"\">", "an SVG drawing"},
      {"<!DOCTYPE html><html>", "an HTML page"},
      {"%PDF-1.7", "a PDF document"},
      {"PK\3\4....", "a ZIP archive"},
      {"\0\0\1\0\1\0"s, "an icon"},
      {"\xff\x0a..", "a JPEG XL picture"},
      {"RIFF....WAVEfmt ", "a sound"},
      {"not a picture", "a file of no known format"},
      {"\x89PNG\r\n", "a file of no known format"},
      {"RIFF....WEB", "a file of no known format"},
  };
  for (const auto& [bytes, name] : cases) {
    EXPECT_THAT(fault(bytes),
                HasSubstr("400 unsupported_image_format picture | picture: expected a "s +
                          picture_names() + " picture, got " + name));
  }
  EXPECT_THAT(fault(""), HasSubstr("400 invalid_image picture | picture: the picture is empty"));
}

TEST(PictureHeader, NamesTheLimit) {
  PictureRules rules;
  rules.max_pixels = 34;
  EXPECT_EQ(fault(kJpeg, rules),
            "400 image_too_large picture | picture: the JPEG picture has 7 x 5 pixels, the limit "
            "is 34 pixels");
  rules.max_pixels = 35;
  EXPECT_EQ(fault(kJpeg, rules), "none");
  rules.max_bytes = 20;
  EXPECT_EQ(fault(kVp8, rules),
            "400 image_too_large picture | picture: the WebP picture has 30 bytes, the limit is 20 "
            "bytes");
}

TEST(PictureHeader, KnowsBombsByTheirHeaders) {
  std::string png = small_png();
  for (const std::size_t at : {16, 20}) png.replace(at, 4, "\x7f\xff\xff\xff");
  EXPECT_THAT(fault(png), HasSubstr("2147483647 x 2147483647 pixels"));
  png.replace(16, 4, "\x80\0\0\0"s);
  EXPECT_THAT(fault(png), HasSubstr("damaged"));
  png.replace(16, 4, "\0\0\0\0"s);
  EXPECT_THAT(fault(png), HasSubstr("the PNG picture is damaged or cut short in its header"));
}

TEST(PictureHeader, RefusesEveryHeaderThatIsCutShort) {
  const std::pair<std::string, std::size_t> whole[] = {
      {kJpeg, 27}, {kVp8, 30},  {kVp8l, 30},      {kVp8x, 30}, {small_png(), 33},
      {kGif, 13},  {kBmp, 26},  {kOldBmp, 26},    {kTiff, 34}, {kBigTiff, 58},
      {kAvif, 84}, {kHeic, 88}, {kTopDownBmp, 26}};
  for (const auto& [file, needed] : whole) {
    for (std::size_t size = 0; size < needed; ++size) {
      EXPECT_THAT(fault(file.substr(0, size)), HasSubstr("400 ")) << size;
    }
    EXPECT_EQ(fault(file.substr(0, needed)), "none");
  }
}

TEST(PictureHeader, RefusesJpegsWithoutAFrame) {
  EXPECT_THAT(fault("\xff\xd8\xff\xd9"), HasSubstr("damaged"));
  EXPECT_THAT(fault("\xff\xd8\xff\xe0\0\0\xff\xc0........"s), HasSubstr("damaged"));
  EXPECT_THAT(fault("\xff\xd8\xff\xda\0\x08......\xff\xc0........"s), HasSubstr("damaged"));
  EXPECT_THAT(fault("\xff\xd8\xff\xe0\0\x04..garbage"s), HasSubstr("damaged"));
  EXPECT_THAT(fault("\xff\xd8\xff" + std::string(1'000'000, '\xff')), HasSubstr("damaged"));
}

}  // namespace
}  // namespace blip2
