#include "blip2/io/picture_format.h"

#include <gmock/gmock.h>

namespace blip2 {
namespace {

using namespace std::string_literals;

TEST(PictureFormat, IsKnownByTheFirstBytes) {
  const std::pair<std::string, PictureFormat> cases[] = {
      {"\xff\xd8\xff", PictureFormat::jpeg},
      {"\x89PNG\r\n\x1a\n", PictureFormat::png},
      {"RIFF....WEBP", PictureFormat::webp},
      {"GIF87a", PictureFormat::gif},
      {"GIF89a", PictureFormat::gif},
      {"BM", PictureFormat::bmp},
      {"II*\0"s, PictureFormat::tiff},
      {"MM\0*"s, PictureFormat::tiff},
      {"II+\0"s, PictureFormat::tiff},
      {"MM\0+"s, PictureFormat::tiff},
      {"\0\0\0\x1c"s + "ftypavif....", PictureFormat::avif},
      {"\0\0\0\x1c"s + "ftypheic....", PictureFormat::heic},
      {"\0\0\0\x1c"s + "ftypmif1\0\0\0\0mif1heic"s, PictureFormat::heic},
      {"\0\0\0\x1c"s + "ftypmif1\0\0\0\0heicavif"s, PictureFormat::avif},
  };
  for (const auto& [bytes, format] : cases) EXPECT_EQ(picture_format(bytes), format) << bytes;
  for (const std::string& other :
       {""s, "RIFF....WAVE"s, "RIFF....WEB"s, "GIF8"s, "II*"s, "\0\0\0\x14"s + "ftypisom....avif",
        "\0\0\0\x14"s + "ftypmif1\0\0\0\0mif1heic"s, "\0\0\0\x1c"s + "ftypmif"}) {
    EXPECT_EQ(picture_format(other), std::nullopt) << other;
  }
}

TEST(PictureFormat, ListsEveryFormatOnce) {
  EXPECT_EQ(picture_names(), "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC");
  EXPECT_EQ(picture_extensions(),
            ".jpg, .jpeg, .png, .webp, .gif, .bmp, .tif, .tiff, .avif, .heic or .heif");
  for (const PictureKind& kind : picture_kinds()) {
    EXPECT_EQ(picture_kind(kind.format).name, kind.name);
    EXPECT_TRUE(is_picture_extension(kind.extension)) << kind.name;
  }
  EXPECT_FALSE(is_picture_extension("svg"));
  EXPECT_FALSE(is_picture_extension("JPG"));
}

}  // namespace
}  // namespace blip2
