// Tiny cases by hand; kernel_tables_test.cpp and kernel_attention_test.cpp have every table.
#include "blip2/nn/kernels/kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "blip2/nn/kernels/tables_internal.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;

float widen(Bf16 x) {
  const std::uint32_t bits = static_cast<std::uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

TEST(Kernels, RmsNormByHand) {
  const float x[] = {3, 4}, weight[] = {1, 10};
  float y[2];
  kernels<float>().rms_norm(x, weight, y, 1, 2, 0.0f);
  const float rms = std::sqrt(12.5f);
  EXPECT_THAT(y, ElementsAre(FloatNear(3 / rms, 1e-6), FloatNear(40 / rms, 1e-5)));
}

TEST(Kernels, LayerNormByHand) {
  const float x[] = {1, 3}, weight[] = {2, 1}, bias[] = {0, 1};
  float y[2];
  kernels<float>().layer_norm(x, weight, bias, y, 1, 2, 0.0f);
  EXPECT_THAT(y, ElementsAre(FloatNear(-2, 1e-6), FloatNear(2, 1e-6)));
}

TEST(Kernels, RopeTurnsPairsHalfAHeadApart) {
  float x[] = {1, 2, 3, 4};
  const float cos[] = {0, 1}, sin[] = {1, 0};
  kernels<float>().rope(x, cos, sin, 1, 4, 1.0f);
  EXPECT_THAT(x, ElementsAre(-3, 2, 1, 4));
  kernels<float>().rope(x, cos, sin, 1, 4, -1.0f);
  EXPECT_THAT(x, ElementsAre(1, 2, 3, 4));
}

TEST(Kernels, CrossEntropyByHand) {
  std::vector<float> logits = {0, std::log(3.0f), 0};
  EXPECT_NEAR(kernels<float>().cross_entropy(logits.data(), 3, 0), std::log(5.0f), 1e-6);
  EXPECT_THAT(logits,
              ElementsAre(FloatNear(-0.8f, 1e-6), FloatNear(0.6f, 1e-6), FloatNear(0.2f, 1e-6)));
}

// The kernels of every table round alike, those of the Q-Former as those of the language model.
TEST(Kernels, EveryBf16KernelKeepsNanAndRoundsToEven) {
  for (const KernelSet& set : runnable_kernels()) {
    const float values[] = {1.0f, 1.00390625f, 1.01171875f, NAN}, zeros[4] = {};
    const std::int32_t starts[] = {0, 1}, from[] = {0};
    Bf16 out[4], sums[4];
    set.bf16->narrow(values, out, 4);
    set.bf16->sum_rows(out, sums, starts, from, 4, 0, 1);
    for (const Bf16* y : {out, sums}) {
      EXPECT_EQ(widen(y[0]), 1.0f) << set.name;
      EXPECT_EQ(widen(y[1]), 1.0f) << set.name;
      EXPECT_EQ(widen(y[2]), 1.015625f) << set.name;
      EXPECT_TRUE(std::isnan(widen(y[3]))) << set.name;
    }
    set.bf16->gelu(out, zeros, sums, 4, 0, 1);
    EXPECT_NEAR(widen(sums[0]), 0.8413f, 0.004f) << set.name;
    EXPECT_TRUE(std::isnan(widen(sums[3]))) << set.name;
  }
}

// Every half widens and narrows to itself; halfway cases go to even, beyond the range to infinity.
TEST(Kernels, HalvesRoundTrip) {
  for (const KernelSet& set : runnable_kernels()) {
    SCOPED_TRACE(set.name);
    std::vector<F16> halves, back(1 << 16);
    for (std::uint32_t bits = 0; bits < 1u << 16; ++bits) {
      if ((bits & 0x7c00u) != 0x7c00u || (bits & 0x3ffu) == 0) {
        halves.push_back({static_cast<std::uint16_t>(bits)});
      }
    }
    const auto count = static_cast<std::int64_t>(halves.size());
    std::vector<float> values(halves.size(), -0.0f);
    set.f16->add(values.data(), halves.data(), values.data(), count);
    set.f16->narrow(values.data(), back.data(), count);
    for (std::size_t i = 0; i < halves.size(); ++i) EXPECT_EQ(back[i].bits, halves[i].bits);
    const float edges[] = {65519.0f, 65520.0f, 1.00048828125f, 1.00146484375f, 0x1p-25f, NAN};
    set.f16->narrow(edges, back.data(), 6);
    const std::uint16_t expected[] = {0x7bff, 0x7c00, 0x3c00, 0x3c02, 0};
    for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(back[i].bits, expected[i]) << edges[i];
    EXPECT_GT(back[5].bits & 0x7fffu, 0x7c00u);
  }
}

}  // namespace
}  // namespace blip2
