#include "blip2/training/event_file_internal.h"

#include <gtest/gtest.h>

#include <string>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

// RFC 3720, B.4.
TEST(Crc32cTest, GivesTheStandardsValues) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string rising;
  for (char c = 0; c < 32; ++c) rising += c;
  EXPECT_EQ(crc32c(rising), 0x46dd794eu);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
}

TEST(Crc32cTest, MasksByRotationAndAConstant) {
  EXPECT_EQ(masked_crc32c(""), 0xa282ead8u);
  const std::uint32_t crc = 0xe3069283u;
  EXPECT_EQ(masked_crc32c("123456789"), ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
}

TEST(EventFileTest, RefusesAFolderThatIsNotThere) {
  EXPECT_ANY_THROW(EventFile("/nonexistent/folder", std::nullopt));
}

}  // namespace
}  // namespace blip2
