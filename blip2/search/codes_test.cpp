#include "blip2/search/codes.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>

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
  const Basis basis = Basis::fit({1, 3}, std::vector<float>{0.25f, 0, -0.125f});
  EXPECT_EQ(basis.rotate(std::vector<float>{1, 2, 3}), (std::vector<float>{1, 2, 3}));
  // All steps have room for twice the largest number, and never for more than 1.
  EXPECT_THAT(basis.steps(), testing::Each(testing::FloatEq(0.5f / 127)));
  EXPECT_THAT(Basis::fit({1, 3}, std::vector<float>{0, -1, 0}).steps(),
              testing::Each(testing::FloatEq(1.0f / 127)));
  EXPECT_THAT(Basis::fit({1, 3}, std::vector<float>{0, 0, 0}).steps(),
              testing::Each(testing::FloatEq(1.0f / 127)));
}

// Vectors along (1, 1), with a little of (1, -1): the larger direction comes first. By hand: the
// second moments are (a^2 + b^2, a^2 - b^2) / 2 on and beside the diagonal, for a = 0.6 and
// b = 0.28; their eigenvectors are the diagonals.
TEST(Basis, PutsTheLargestDirectionFirst) {
  const float a = 0.6f, b = 0.28f, r = std::sqrt(0.5f);
  std::vector<float> vectors;
  for (std::size_t i = 0; i < 16; ++i) {
    const float sign = i % 2 == 0 ? 1.0f : -1.0f, side = i % 4 < 2 ? b : -b;
    vectors.push_back(sign * r * (a + side));
    vectors.push_back(sign * r * (a - side));
  }
  const Basis basis = Basis::fit({1, 2}, vectors);
  const std::vector<float> turned = basis.rotate(std::vector<float>{r, r, r, -r});
  EXPECT_NEAR(std::abs(turned[0]), 1, 1e-6);
  EXPECT_NEAR(turned[1], 0, 1e-6);
  EXPECT_NEAR(std::abs(turned[3]), 1, 1e-6);
  EXPECT_NEAR(basis.steps()[0], 1.25 * a / 127, 1e-6);
  EXPECT_NEAR(basis.steps()[1], 1.25 * b / 127, 1e-6);
}

TEST(Basis, IsFittedOnFiniteVectorsOfWholePictures) {
  EXPECT_THROW(Basis::fit({1, 2}, std::vector<float>{NAN, 0}), Error);
  EXPECT_THROW(Basis::fit({2, 2}, std::vector<float>{1, 0}), Error);
  EXPECT_THROW(Basis::fit({2, 2}, {}), Error);
  EXPECT_THROW(Basis::fit({0, 2}, std::vector<float>{1, 0}), Error);
}

TEST(Basis, ThatIsNotOrthogonalIsRefused) {
  auto bytes = Basis::fit({1, 40}, random_vectors({1, 40}, 400, 1)).bytes();
  EXPECT_NO_THROW(Basis::from_bytes({1, 40}, bytes));
  const float other = 0.5f;
  std::memcpy(bytes.data() + 4 * 777, &other, 4);
  EXPECT_THROW(Basis::from_bytes({1, 40}, bytes), Error);
}

TEST(Basis, IsOrthogonalAndComesBackFromItsBytes) {
  for (const VectorShape shape :
       {VectorShape{3, 5}, VectorShape{8, 40}, VectorShape{2, 96}, VectorShape{16, 200}}) {
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
  EXPECT_LT(largest, 0.03);
}

TEST(Codes, BeyondTheStepsTheErrorSaysSo) {
  const VectorShape shape{1, 4};
  const Basis basis = Basis::fit(shape, std::vector<float>{0.05f, 0, 0, 0});
  const CodeSizes sizes = code_sizes(shape);
  std::vector<std::byte> head(sizes.head), body(sizes.body);
  EXPECT_GT(encode(basis, std::vector<float>{1, 0, 0, 0}, head, body), 0.8);
  EXPECT_THROW(encode(basis, std::vector<float>{NAN, 0, 0, 0}, head, body), Error);
  EXPECT_THROW(encode(basis, std::vector<float>{1, 0, 0}, head, body), Error);
}

}  // namespace
}  // namespace blip2
