#include "blip2/search/codes.h"

#include <gmock/gmock.h>

#include <cmath>

#include "blip2/base/error.h"
#include "blip2/search/test_vectors.h"

namespace blip2 {
namespace {

double length_of(std::span<const float> vector) {
  double sum = 0;
  for (const float value : vector) sum += double{value} * value;
  return std::sqrt(sum);
}

TEST(Basis, OfFewVectorsTurnsNothing) {
  const std::vector<float> vectors{0.6f, 0.8f, 1, 0};
  const Basis basis = Basis::fit({2, 2}, vectors);
  const std::vector<float> some{0.25f, -0.5f};
  EXPECT_EQ(Basis::fit({1, 3}, std::vector<float>{1, 0, 0}).rotate(std::vector<float>{1, 2, 3}),
            (std::vector<float>{1, 2, 3}));
  EXPECT_NEAR(length_of(basis.rotate(some)), length_of(some), 1e-6);
}

// Four vectors along (1, 1), (1, -1): the larger direction comes first. By hand: the second moments
// are [[2.56, 1.92], [1.92, 2.56]] / 2 for 0.96 and 0.28; their eigenvectors are the diagonals.
TEST(Basis, PutsTheLargestDirectionFirst) {
  const float a = 0.96f, b = 0.28f, r = std::sqrt(0.5f);
  std::vector<float> vectors;
  for (const float sign : {1.0f, -1.0f}) {
    for (const float side : {b, -b}) {
      vectors.push_back(sign * r * (a + side));
      vectors.push_back(sign * r * (a - side));
    }
  }
  const Basis basis = Basis::fit({1, 2}, vectors);
  const std::vector<float> turned = basis.rotate(std::vector<float>{r, r});
  EXPECT_NEAR(std::abs(turned[0]), 1, 1e-6);
  EXPECT_NEAR(turned[1], 0, 1e-6);
  EXPECT_NEAR(basis.steps()[0], 1.25 * a / 127, 1e-6);
  EXPECT_NEAR(basis.steps()[1], 1.25 * b / 127, 1e-6);
}

TEST(Basis, IsOrthogonalAndComesBackFromItsBytes) {
  for (const VectorShape shape : {VectorShape{3, 5}, VectorShape{8, 40}, VectorShape{2, 96}}) {
    const auto vectors = random_vectors(shape, 200, 1);
    const Basis basis = Basis::fit(shape, vectors);
    const std::span<const float> one(vectors.data(), static_cast<std::size_t>(shape.width));
    const auto back = basis.rotate_back(basis.rotate(one));
    for (std::size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(back[i], one[i], 2e-6);
    EXPECT_EQ(Basis::from_bytes(shape, basis.bytes()).bytes(), basis.bytes());
    auto bytes = basis.bytes();
    bytes.pop_back();
    EXPECT_THROW(Basis::from_bytes(shape, bytes), Error);
    bytes = basis.bytes();
    std::fill(bytes.begin(), bytes.begin() + 4, std::byte{0xff});  // NaN
    EXPECT_THROW(Basis::from_bytes(shape, bytes), Error);
  }
}

TEST(Codes, SayVectorsUpToTheirError) {
  const VectorShape shape{4, 48};
  const auto vectors = random_vectors(shape, 100, 2);
  const Basis basis = Basis::fit(shape, vectors);
  const CodeSizes sizes = code_sizes(shape);
  const std::size_t one = 4 * 48;
  float largest = 0;
  for (std::size_t i = 0; i < 100; ++i) {
    std::vector<std::byte> head(sizes.head), body(sizes.body);
    const auto picture = std::span(vectors).subspan(i * one, one);
    const float error = encode(basis, picture, head, body);
    largest = std::max(largest, error);
    const auto said = decode(basis, body);
    for (std::size_t q = 0; q < 4; ++q) {
      std::vector<float> off(48);
      for (std::size_t d = 0; d < 48; ++d) off[d] = picture[q * 48 + d] - said[q * 48 + d];
      EXPECT_LE(length_of(off), error);
    }
  }
  EXPECT_LT(largest, 0.02);
}

TEST(Codes, BeyondTheStepsTheErrorSaysSo) {
  const VectorShape shape{1, 4};
  const Basis basis = Basis::fit(shape, std::vector<float>{0.1f, 0, 0, 0});
  const CodeSizes sizes = code_sizes(shape);
  std::vector<std::byte> head(sizes.head), body(sizes.body);
  EXPECT_GT(encode(basis, std::vector<float>{1, 0, 0, 0}, head, body), 0.8);
  EXPECT_THROW(encode(basis, std::vector<float>{NAN, 0, 0, 0}, head, body), Error);
}

}  // namespace
}  // namespace blip2
