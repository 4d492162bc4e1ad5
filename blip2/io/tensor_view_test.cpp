#include "blip2/io/tensor_view.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

// A block's bytes, most of them zero.
class Block {
 public:
  explicit Block(DType dtype) : dtype_(dtype) {
    const auto [elements, bytes] = dtype_block(dtype);
    bytes_.resize(static_cast<std::size_t>(bytes));
    elements_ = elements;
  }
  Block& half(std::size_t at, std::uint16_t bits) {
    return byte(at, bits & 255).byte(at + 1, bits >> 8);
  }
  Block& byte(std::size_t at, int value) {
    bytes_[at] = static_cast<std::byte>(value);
    return *this;
  }
  std::vector<float> floats() const {
    std::vector<float> out(static_cast<std::size_t>(elements_));
    to_float32({"block", dtype_, {elements_}, bytes_}, out);
    return out;
  }

 private:
  DType dtype_;
  std::int64_t elements_;
  std::vector<std::byte> bytes_;
};

constexpr std::uint16_t kOne = 0x3c00, kTwo = 0x4000, kHalf = 0x3800;

TEST(Dequantise, Q4_0ByHand) {
  const auto got = Block(DType::q4_0).half(0, kTwo).byte(2, 0xf1).floats();
  EXPECT_EQ(got[0], 2 * (1 - 8));
  EXPECT_EQ(got[16], 2 * (15 - 8));
  EXPECT_EQ(got[1], 2 * (0 - 8));
}

TEST(Dequantise, Q4_1ByHand) {
  const auto got = Block(DType::q4_1).half(0, kTwo).half(2, kHalf).byte(4, 0xf1).floats();
  EXPECT_EQ(got[0], 2.5f);
  EXPECT_EQ(got[16], 30.5f);
}

TEST(Dequantise, Q5ByHand) {
  // Bit 1 and bit 16 of the high bits raise elements 1 and 16 by sixteen.
  const auto q5_0 = Block(DType::q5_0).half(0, kOne).byte(2, 2).byte(4, 1).byte(7, 3).floats();
  EXPECT_EQ(q5_0[1], 3 + 16 - 16);
  EXPECT_EQ(q5_0[16], 0);
  EXPECT_EQ(q5_0[0], -16);
  const auto q5_1 = Block(DType::q5_1).half(0, kOne).half(2, kTwo).byte(4, 1).byte(8, 5).floats();
  EXPECT_EQ(q5_1[0], 16 + 5 + 2);
  EXPECT_EQ(q5_1[1], 2);
}

TEST(Dequantise, Q8_0ByHand) {
  const auto got = Block(DType::q8_0).half(0, kHalf).byte(2, 0x80).byte(33, 3).floats();
  EXPECT_EQ(got[0], -64);
  EXPECT_EQ(got[31], 1.5f);
}

TEST(Dequantise, Q4_KByHand) {
  // Sub-block 0: scale 3, minimum 5; sub-block 4: scale 2 | 1 << 4, from the packed high bits.
  const auto got = Block(DType::q4_k)
                       .half(0, kTwo)
                       .half(2, kOne)
                       .byte(4, 3 | 1 << 6)
                       .byte(8, 5)
                       .byte(12, 2)
                       .byte(16, 7)
                       .byte(80, 4)
                       .floats();
  EXPECT_EQ(got[0], 2 * 3 * 7 - 5);
  EXPECT_EQ(got[1], -5);
  EXPECT_EQ(got[128], 2 * 18 * 4);
}

TEST(Dequantise, Q5_KByHand) {
  const auto got = Block(DType::q5_k)
                       .half(0, kOne)
                       .half(2, kTwo)
                       .byte(5, 3)  // scale and minimum of sub-block 1
                       .byte(9, 1)
                       .byte(16, 1 << 1)  // fifth bit of its first element
                       .byte(48, 0x90)    // its low bits
                       .floats();
  EXPECT_EQ(got[32], 3 * (9 + 16) - 2);
}

TEST(Dequantise, Q6_KByHand) {
  const auto got = Block(DType::q6_k)
                       .half(208, kTwo)
                       .byte(192, -3)  // scale of elements 0 to 15
                       .byte(0, 5)
                       .byte(128, 1)
                       .floats();
  EXPECT_EQ(got[0], 2 * -3 * (5 + 16 - 32));
  EXPECT_EQ(got[1], 2 * -3 * -32);
  EXPECT_EQ(got[16], 0);
}

TEST(Dequantise, IQ4_NLByHand) {
  const auto got = Block(DType::iq4_nl).half(0, kTwo).byte(2, 0xf0).byte(17, 0x8e).floats();
  EXPECT_EQ(got[0], 2 * -127);
  EXPECT_EQ(got[16], 2 * 113);
  EXPECT_EQ(got[15], 2 * 89);
  EXPECT_EQ(got[31], 2 * 1);
}

TEST(Dequantise, MXFP4ByHand) {
  const auto got = Block(DType::mxfp4).byte(0, 129).byte(1, 0x97).byte(16, 0x4f).floats();
  EXPECT_EQ(got[0], 4 * 6.0f);  // 2^(129 - 127) times the float 6
  EXPECT_EQ(got[16], 4 * -0.5f);
  EXPECT_EQ(got[15], 4 * -6.0f);
  EXPECT_EQ(got[31], 4 * 2.0f);
  EXPECT_EQ(Block(DType::mxfp4).byte(0, 0).byte(1, 2).floats()[0], 0x1p-127f);
  EXPECT_EQ(Block(DType::mxfp4).byte(0, 1).byte(1, 2).floats()[0], 0x1p-126f);
}

TEST(TensorBytes, KnowsBlocksAndOverflow) {
  const auto bytes = [](DType dtype, std::vector<std::int64_t> shape) {
    return tensor_bytes(dtype, shape);
  };
  EXPECT_EQ(bytes(DType::f32, {}), 4u);
  EXPECT_EQ(bytes(DType::f16, {3, 5}), 30u);
  EXPECT_EQ(bytes(DType::q4_1, {2, 64}), 80u);
  EXPECT_EQ(bytes(DType::f32, {0, 5}), 0u);
  EXPECT_EQ(bytes(DType::f4, {2, 3}), 3u);
  EXPECT_EQ(bytes(DType::f4, {3}), std::nullopt);  // ends within a byte
  EXPECT_EQ(bytes(DType::f6_e2m3, {2, 2}), 3u);
  EXPECT_EQ(bytes(DType::c64, {2}), 16u);
  EXPECT_EQ(bytes(DType::q4_1, {2, 33}), std::nullopt);
  EXPECT_EQ(bytes(DType::f32, {2, -1}), std::nullopt);
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(bytes(DType::f32, {kHuge / 2}), std::nullopt);
  EXPECT_EQ(bytes(DType::i8, {kHuge, kHuge}), std::nullopt);
  EXPECT_EQ(bytes(DType::i8, {0, kHuge, kHuge}), std::nullopt);
}

TEST(ToFloat32, RefusesTheWrongNumberOfElements) {
  std::vector<std::byte> data(8);
  std::vector<float> out(3);
  EXPECT_THROW(to_float32({"a", DType::f32, {2}, data}, out), Error);
  EXPECT_THROW(to_float32({"a", DType::f32, {3}, data}, out), Error);
}

TEST(ToFloat32, WidensEightBitFloats) {
  const auto widened = [](DType dtype, int bits) {
    const auto byte = static_cast<std::byte>(bits);
    float out = 0;
    to_float32({"a", dtype, {1}, std::span(&byte, 1)}, std::span(&out, 1));
    return out;
  };
  EXPECT_EQ(widened(DType::f8_e4m3, 0x38), 1.0f);
  EXPECT_EQ(widened(DType::f8_e4m3, 0xb9), -1.125f);
  EXPECT_EQ(widened(DType::f8_e4m3, 0x01), 0x1p-9f);  // the smallest
  EXPECT_EQ(widened(DType::f8_e4m3, 0x7e), 448.0f);   // the largest
  EXPECT_TRUE(std::isnan(widened(DType::f8_e4m3, 0xff)));
  EXPECT_EQ(widened(DType::f8_e5m2, 0x3c), 1.0f);
  EXPECT_EQ(widened(DType::f8_e5m2, 0x7b), 57344.0f);
  EXPECT_EQ(widened(DType::f8_e5m2, 0xfc), -std::numeric_limits<float>::infinity());
}

TEST(ToFloat32, RefusesWhatIsListedOnly) {
  std::vector<std::byte> data(8);
  std::vector<float> out(16);
  EXPECT_THROW(to_float32({"a", DType::f4, {16}, data}, out), Error);
  EXPECT_THROW(to_float32({"a", DType::c64, {1}, data}, std::span(out).first(1)), Error);
}

TEST(DType, NamesAreFoundAgain) {
  for (int i = 0; i <= static_cast<int>(DType::tq2_0); ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_name(dtype_name(dtype)), dtype);
  }
  EXPECT_EQ(dtype_from_name("F8"), std::nullopt);
}

}  // namespace
}  // namespace blip2
