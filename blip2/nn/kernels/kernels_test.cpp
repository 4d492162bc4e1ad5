#include "blip2/nn/kernels/kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string_view>
#include <vector>

#include "blip2/base/random.h"
#include "blip2/nn/kernels/tables.h"

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

std::vector<float> uniform(std::int64_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    values.push_back(static_cast<float>(random.uniform(-1, 1)));
  }
  return values;
}

std::vector<Bf16> narrow(const std::vector<float>& values) {
  std::vector<Bf16> out(values.size());
  plain_bf16().narrow(values.data(), out.data(), static_cast<std::int64_t>(values.size()));
  return out;
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

// Against differences.
TEST(Kernels, LayerNormGradient) {
  const std::int64_t width = 19;
  auto x = uniform(width, 1);
  const auto weight = uniform(width, 2), bias = uniform(width, 3), dy = uniform(width, 4);
  std::vector<float> y(x.size()), dx(x.size());
  kernels<float>().layer_norm_backward(x.data(), weight.data(), dy.data(), dx.data(), 1, width,
                                       1e-5f);
  const auto loss = [&](std::size_t i, float change) {
    auto changed = x;
    changed[i] += change;
    kernels<float>().layer_norm(changed.data(), weight.data(), bias.data(), y.data(), 1, width,
                                1e-5f);
    double sum = 0;
    for (std::size_t j = 0; j < y.size(); ++j) sum += static_cast<double>(y[j]) * dy[j];
    return sum;
  };
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(dx[i], (loss(i, 1e-2f) - loss(i, -1e-2f)) / 2e-2, 3e-3);
  }
}

TEST(Kernels, GeluGradient) {
  const std::vector<float> x = {-3.0f, -0.5f, 0.0f, 0.7f, 4.0f}, dy(5, 1.0f);
  std::vector<float> gradient(5), high(5), low(5), up = x, down = x;
  for (float& value : up) value += 1e-2f;
  for (float& value : down) value -= 1e-2f;
  kernels<float>().gelu_tanh_backward(x.data(), dy.data(), gradient.data(), 5);
  kernels<float>().gelu_tanh(up.data(), high.data(), 5);
  kernels<float>().gelu_tanh(down.data(), low.data(), 5);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(gradient[i], (high[i] - low[i]) / 2e-2f, 1e-3);
}

// Every half widens and narrows to itself; halfway cases go to even, beyond the range to infinity.
TEST(Kernels, HalvesRoundTrip) {
  for (const Kernels<F16>* table : {&plain_f16(), &kernels<F16>()}) {
    std::vector<F16> halves, back(1 << 16);
    for (std::uint32_t bits = 0; bits < 1u << 16; ++bits) {
      if ((bits & 0x7c00u) != 0x7c00u || (bits & 0x3ffu) == 0) {
        halves.push_back({static_cast<std::uint16_t>(bits)});
      }
    }
    const auto count = static_cast<std::int64_t>(halves.size());
    std::vector<float> values(halves.size(), -0.0f);
    table->add(values.data(), halves.data(), values.data(), count);
    table->narrow(values.data(), back.data(), count);
    for (std::size_t i = 0; i < halves.size(); ++i) EXPECT_EQ(back[i].bits, halves[i].bits);
    const float edges[] = {65519.0f, 65520.0f, 1.00048828125f, 1.00146484375f, 0x1p-25f, NAN};
    table->narrow(edges, back.data(), 6);
    const std::uint16_t expected[] = {0x7bff, 0x7c00, 0x3c00, 0x3c02, 0};
    for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(back[i].bits, expected[i]) << edges[i];
    EXPECT_GT(back[5].bits & 0x7fffu, 0x7c00u);
  }
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

TEST(Kernels, NarrowRoundsToEvenAndKeepsNan) {
  const float values[] = {1.0f, 1.00390625f, 1.01171875f, NAN};
  Bf16 out[4];
  kernels<Bf16>().narrow(values, out, 4);
  EXPECT_EQ(widen(out[0]), 1.0f);
  EXPECT_EQ(widen(out[1]), 1.0f);
  EXPECT_EQ(widen(out[2]), 1.015625f);
  EXPECT_TRUE(std::isnan(widen(out[3])));
}

// Every row alone equals the row in the batch, bit for bit, and the sums are right.
TEST(Kernels, LinearRowsDoNotDependOnEachOther) {
  struct Shape {
    std::int64_t rows, outs, width;
  };
  for (const auto& [rows, outs, width] :
       {Shape{17, 11, 1}, {17, 11, 31}, {33, 75, 45}, {50, 32, 64}, {17, 40, 576}}) {
    const auto xf = uniform(rows * width, 1), wf = uniform(outs * width, 2);
    const auto x = narrow(xf), w = narrow(wf);
    std::vector<float> y(static_cast<std::size_t>(rows * outs), 0.0f), alone(outs);
    kernels<Bf16>().linear(x.data(), rows, width, w.data(), 0, 5, Store::value_f32, y.data(), outs);
    kernels<Bf16>().linear(x.data(), rows, width, w.data(), 5, outs, Store::add_f32, y.data(),
                           outs);
    for (std::int64_t r = 0; r < rows; ++r) {
      kernels<Bf16>().linear(x.data() + r * width, 1, width, w.data(), 0, outs, Store::value_f32,
                             alone.data(), outs);
      EXPECT_EQ(std::memcmp(alone.data(), &y[static_cast<std::size_t>(r * outs)],
                            sizeof(float) * static_cast<std::size_t>(outs)),
                0);
      for (std::int64_t o = 0; o < outs; ++o) {
        double sum = 0;
        for (std::int64_t i = 0; i < width; ++i) {
          sum += static_cast<double>(widen(x[static_cast<std::size_t>(r * width + i)])) *
                 widen(w[static_cast<std::size_t>(o * width + i)]);
        }
        EXPECT_NEAR(alone[static_cast<std::size_t>(o)], sum, 1e-4);
      }
    }
  }
}

// The gradients of attention against differences.
TEST(Kernels, AttentionGradient) {
  const std::int64_t tokens = 5, group = 2, dim = 6, stride = group * dim;
  const AttentionShape shape{0, tokens, group, dim, stride, dim, stride, 0.4f};
  auto q = uniform(tokens * stride, 1), k = uniform(tokens * dim, 2), v = uniform(tokens * dim, 3);
  const auto dout = uniform(tokens * stride, 4);
  std::vector<float> scratch(static_cast<std::size_t>(attention_scratch(shape)));
  const auto loss = [&] {
    std::vector<float> out(q.size());
    kernels<float>().attention(q.data(), k.data(), v.data(), out.data(), shape, scratch.data());
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i) sum += static_cast<double>(out[i]) * dout[i];
    return sum;
  };
  std::vector<float> dq(q.size()), dk(k.size()), dv(v.size());
  kernels<float>().attention_backward(q.data(), k.data(), v.data(), dout.data(), dq.data(),
                                      dk.data(), dv.data(), shape, scratch.data());
  const auto check = [&](std::vector<float>& values, const std::vector<float>& gradient) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float kept = values[i], step = 1e-2f;
      values[i] = kept + step;
      const double high = loss();
      values[i] = kept - step;
      const double low = loss();
      values[i] = kept;
      EXPECT_NEAR(gradient[i], (high - low) / (2 * step), 2e-3);
    }
  };
  check(q, dq);
  check(k, dk);
  check(v, dv);
}

TEST(Kernels, SiluGradient) {
  const std::vector<float> gate_up = {0.5f, -2.0f, 3.0f, 0.25f};  // gates, then ups
  const float dy[] = {1.0f, 2.0f};
  std::vector<float> gradient(4), y(2);
  kernels<float>().silu_mul_backward(gate_up.data(), dy, gradient.data(), 1, 2);
  for (std::size_t i = 0; i < 4; ++i) {
    const auto at = [&](float change) {
      auto changed = gate_up;
      changed[i] += change;
      kernels<float>().silu_mul(changed.data(), y.data(), 1, 2);
      return y[0] * dy[0] + y[1] * dy[1];
    };
    EXPECT_NEAR(gradient[i], (at(1e-2f) - at(-1e-2f)) / 2e-2f, 1e-3);
  }
}

#if defined(__x86_64__)
// Each instruction set that the machine has agrees with the plain code.
TEST(Kernels, InstructionSetsAgree) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) GTEST_SKIP();
  std::vector<const Kernels<float>*> tables = {&avx2_f32()};
  const std::string_view name = kernels_name();
  if (name == "avx512-bf16" || name == "amx-bf16") tables.push_back(&avx512_f32());
  const std::int64_t tokens = 23, dim = 20;
  const AttentionShape shape{7, tokens - 7, 3, dim, 3 * dim, dim, 3 * dim, 0.3f};
  const auto q = uniform(tokens * 3 * dim, 1), k = uniform(tokens * dim, 2);
  const auto v = uniform(tokens * dim, 3);
  std::vector<float> scratch(static_cast<std::size_t>(attention_scratch(shape)));
  std::vector<float> expected(q.size()), got(q.size());
  plain_f32().attention(q.data(), k.data(), v.data(), expected.data(), shape, scratch.data());
  for (const auto* table : tables) {
    table->attention(q.data(), k.data(), v.data(), got.data(), shape, scratch.data());
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-5);
    EXPECT_NEAR(table->log_sum_exp(q.data(), 333), plain_f32().log_sum_exp(q.data(), 333), 1e-5);
  }
}
#endif

}  // namespace
}  // namespace blip2
