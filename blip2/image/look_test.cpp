#include "blip2/image/look.h"

#include <gtest/gtest.h>

#include "blip2/image/codecs_internal.h"
#include "blip2/image/resize.h"

namespace blip2 {
namespace {

// Black on the left, a colour on the right.
Image halves(int width, int height) {
  Image image = blank_image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = width / 2; x < width; ++x) image.rgb[3 * (y * width + x) + 1] = 200;
  }
  return image;
}

TEST(Look, IsTheMeanColoursOfCells) {
  const std::string look = look_of(halves(32, 16));
  ASSERT_EQ(look.size(), 192u);
  for (std::size_t i = 0; i < look.size(); ++i) {
    const bool green = i % 3 == 1 && i / 3 % 8 >= 4;
    EXPECT_EQ(static_cast<unsigned char>(look[i]), green ? 200 : 0) << i;
  }
}

TEST(Look, StaysWhenAPictureIsScaled) {
  const std::string look = look_of(halves(320, 160));
  EXPECT_TRUE(same_look(look, look_of(halves(64, 32))));
  EXPECT_TRUE(same_look(look, look_of(resize(halves(320, 160), 47, 23, Filter::lanczos))));
  EXPECT_EQ(look_of(halves(1, 1)).size(), 192u);
}

TEST(Look, DiffersFromOtherPictures) {
  const Image plain = blank_image(20, 20);
  EXPECT_FALSE(same_look(look_of(halves(20, 20)), look_of(plain)));
  EXPECT_FALSE(same_look(look_of(plain), ""));
  EXPECT_FALSE(same_look("", ""));
  std::string look(192, 100), other = look;
  other.back() += 24;
  EXPECT_TRUE(same_look(look, other));
  ++other.back();
  EXPECT_FALSE(same_look(look, other));
}

}  // namespace
}  // namespace blip2
