#include "blip2/search/codes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/search/code_layout_internal.h"
#include "blip2/search/eigenvectors_internal.h"
#include "blip2/search/scan_kernels_internal.h"

namespace blip2 {
namespace {

constexpr std::size_t kMostFitted = 65536;  // vectors that a basis is fitted on
constexpr float kRoom = 1.25f;              // of the steps beyond the largest number seen
constexpr float kRoomOfFew = 2;             // where few were seen
constexpr float kLeastShare = 1.0f / 64;    // of the largest step, for directions that few vary in
constexpr float kLargest = 127;
constexpr std::size_t kFew = 8;  // vectors for each number of a vector: fewer are few

void check_shape(VectorShape shape) {
  if (shape.queries < 1 || shape.queries > 1024 || shape.width < 1 || shape.width > 4096) {
    throw Error(
        fmt::format("expected 1 to 1024 vectors of 1 to 4096 numbers a picture, got {} of {}",
                    shape.queries, shape.width));
  }
}

// Evenly spaced vectors of `vectors` [n, E], at most kMostFitted.
std::vector<float> sample_of(std::span<const float> vectors, std::size_t width) {
  const std::size_t count = vectors.size() / width, taken = std::min(count, kMostFitted);
  std::vector<float> sample;
  sample.reserve(taken * width);
  for (std::size_t i = 0; i < taken; ++i) {
    const auto one = vectors.subspan(i * count / taken * width, width);
    sample.insert(sample.end(), one.begin(), one.end());
  }
  return sample;
}

// Four vectors [4, E] into the sums of products, of which those beside and below the diagonal are
// used.
void add_products(const float* four, std::size_t width, std::vector<double>& sums) {
  const float *a = four, *b = a + width, *c = b + width, *d = c + width;
  for (std::size_t i = 0; i < width; ++i) {
    double* row = sums.data() + i * width;
    const double p = a[i], q = b[i], r = c[i], s = d[i];
    for (std::size_t j = 0; j <= i; ++j) row[j] += p * a[j] + q * b[j] + r * c[j] + s * d[j];
  }
}

// Sums of products of the numbers of vectors [n, E], in f64.
std::vector<double> second_moments(std::vector<float> vectors, std::size_t width) {
  std::vector<double> sums(width * width);
  const std::size_t four = 4 * width;
  vectors.resize((vectors.size() + four - 1) / four * four);
  for (std::size_t at = 0; at < vectors.size(); at += four) {
    add_products(vectors.data() + at, width, sums);
  }
  for (std::size_t i = 0; i < width; ++i) {
    for (std::size_t j = 0; j < i; ++j) sums[j * width + i] = sums[i * width + j];
  }
  return sums;
}

std::vector<float> identity(std::size_t width) {
  std::vector<float> rotation(width * width);
  for (std::size_t i = 0; i < width; ++i) rotation[i * width + i] = 1;
  return rotation;
}

std::vector<float> eigenvectors_of(const std::vector<float>& sample, std::size_t width) {
  const std::vector<double> found = eigenvectors(second_moments(sample, width), width);
  return {found.begin(), found.end()};
}

// The largest size of each number of vectors [n, E].
std::vector<float> largest_of(std::span<const float> vectors, std::size_t width) {
  std::vector<float> largest(width);
  for (std::size_t at = 0; at < vectors.size(); at += width) {
    for (std::size_t d = 0; d < width; ++d) {
      largest[d] = std::max(largest[d], std::abs(vectors[at + d]));
    }
  }
  return largest;
}

bool all_finite(std::span<const float> numbers) {
  return std::all_of(numbers.begin(), numbers.end(),
                     [](float value) { return std::isfinite(value); });
}

// The length of the numbers behind the head, in the heads' units, rounded up. That of a unit
// vector fits: it is at most 1 and the length of 4096 halves of steps of 1 / 127.
std::byte rest_of(const std::int8_t* codes, std::span<const float> steps) {
  double sum = 0;
  for (std::size_t d = CodeLayout::kHeadNumbers; d < steps.size(); ++d) {
    const double value = double{steps[d]} * codes[d];
    sum += value * value;
  }
  const double units = std::ceil(std::sqrt(sum) * (1 + 1e-9) / CodeLayout::kLengthUnit);
  need(units <= UINT8_MAX, "a picture's vectors are no unit vectors", "index");
  return static_cast<std::byte>(units);
}

// The nearest whole number, halves to the even one; |value| < 2^22.
float nearest_whole(float value) {
  constexpr float magic = 0x1.8p23f;
  return (value + magic) - magic;
}

// What rounding a query of length 1 adds to a score, for each unit of a code: half the unit of
// scan_query.cpp at most.
double query_rounding(std::span<const float> steps) {
  double largest = 0, squares = 0;
  for (const float step : steps) {
    largest = std::max<double>(largest, step);
    squares += double{step} * step;
  }
  const double room = 8388608 - static_cast<double>(steps.size() + 32);
  return 0.5 * 1.001 * std::max({largest / 32767, std::sqrt(squares) / room, 0x1p-27});
}

// Writes a rotated vector's codes. Returns how far what they say lies from it, with `rounding` for
// each unit of a code.
double encode_vector(std::span<const float> steps, const float* rotated, double rounding,
                     std::int8_t* codes) {
  double error = 0, size = 0;
  for (std::size_t d = 0; d < steps.size(); ++d) {
    const float code = nearest_whole(std::clamp(rotated[d] / steps[d], -kLargest, kLargest));
    codes[d] = static_cast<std::int8_t>(code);
    const double off = double{rotated[d]} - double{steps[d]} * code;
    error += off * off;
    size += std::abs(code);
  }
  return std::sqrt(error) + rounding * size;
}

}  // namespace

Basis::Basis(VectorShape shape, std::vector<float> rotation, std::vector<float> steps)
    : shape_(shape), rotation_(std::move(rotation)), steps_(std::move(steps)) {}

Basis Basis::fit(VectorShape shape, std::span<const float> vectors) {
  check_shape(shape);
  const auto width = static_cast<std::size_t>(shape.width);
  need(!vectors.empty() && vectors.size() % (width * static_cast<std::size_t>(shape.queries)) == 0,
       "expected the vectors of one picture or more", "index");
  const std::vector<float> sample = sample_of(vectors, width);
  need(all_finite(sample), "a picture's vectors hold a number that is not finite", "index");
  const bool few = sample.size() / width < kFew * width;
  Basis basis(shape, few ? identity(width) : eigenvectors_of(sample, width), {});
  basis.steps_ = largest_of(few ? sample : basis.rotate(sample), width);
  const float most = *std::max_element(basis.steps_.begin(), basis.steps_.end());
  for (float& step : basis.steps_) {
    const float reach = few ? kRoomOfFew * most : kRoom * std::max(step, kLeastShare * most);
    step = (reach > 0 ? std::min(reach, 1.0f) : 1.0f) / kLargest;
  }
  return basis;
}

Basis Basis::from_bytes(VectorShape shape, std::span<const std::byte> bytes) {
  check_shape(shape);
  const auto width = static_cast<std::size_t>(shape.width);
  const std::size_t expected = (width * width + width) * sizeof(float);
  if (bytes.size() != expected) {
    throw Error(fmt::format("expected {} bytes of a basis, got {}", expected, bytes.size()),
                "index");
  }
  std::vector<float> rotation(width * width), steps(width);
  std::memcpy(rotation.data(), bytes.data(), rotation.size() * sizeof(float));
  std::memcpy(steps.data(), bytes.data() + rotation.size() * sizeof(float), width * sizeof(float));
  const bool sound =
      std::all_of(rotation.begin(), rotation.end(),
                  [](float value) { return std::abs(value) <= 1.001f; }) &&
      std::all_of(steps.begin(), steps.end(), [](float value) { return value > 0 && value < 1; });
  Basis basis(shape, std::move(rotation), std::move(steps));
  need(sound && basis.turns_back(), "the basis holds numbers that no basis has", "index");
  return basis;
}

std::vector<std::byte> Basis::bytes() const {
  std::vector<std::byte> bytes((rotation_.size() + steps_.size()) * sizeof(float));
  std::memcpy(bytes.data(), rotation_.data(), rotation_.size() * sizeof(float));
  std::memcpy(bytes.data() + rotation_.size() * sizeof(float), steps_.data(),
              steps_.size() * sizeof(float));
  return bytes;
}

std::vector<float> Basis::rotate(std::span<const float> vectors) const {
  const auto width = static_cast<std::size_t>(shape_.width);
  need(vectors.size() % width == 0, "expected vectors of the index's width", "index");
  std::vector<float> rotated(vectors.size());
  // As many vectors at a time as stay near the processor while the rotation passes by.
  constexpr std::size_t kAtOnce = 32;
  for (std::size_t at = 0; at < vectors.size(); at += kAtOnce * width) {
    const std::size_t count = std::min(kAtOnce, (vectors.size() - at) / width);
    scan_kernels().rotate(rotation_.data(), vectors.data() + at, count, width, rotated.data() + at);
  }
  return rotated;
}

std::vector<float> Basis::rotate_back(std::span<const float> rotated) const {
  const auto width = static_cast<std::size_t>(shape_.width);
  need(rotated.size() % width == 0, "expected vectors of the index's width", "index");
  std::vector<float> vectors(rotated.size());
  for (std::size_t v = 0; v < rotated.size(); v += width) {
    for (std::size_t d = 0; d < width; ++d) {
      const float* row = rotation_.data() + d * width;
      for (std::size_t i = 0; i < width; ++i) vectors[v + i] += rotated[v + d] * row[i];
    }
  }
  return vectors;
}

// Whether vectors come back from the rotation, by a few at random: one that is not orthogonal turns
// hardly any vector back (Freivalds 1977).
bool Basis::turns_back() const {
  constexpr std::size_t kTried = 3;
  Random random(1);
  std::vector<float> some(kTried * static_cast<std::size_t>(shape_.width));
  for (float& value : some) value = random.next() % 2 == 0 ? 1.0f : -1.0f;
  const std::vector<float> back = rotate_back(rotate(some));
  return std::equal(some.begin(), some.end(), back.begin(),
                    [](float one, float other) { return std::abs(one - other) < 1e-3f; });
}

CodeSizes code_sizes(VectorShape shape) {
  const CodeLayout layout(shape);
  return {layout.head, layout.body};
}

float encode(const Basis& basis, std::span<const float> vectors, std::span<std::byte> head,
             std::span<std::byte> body) {
  const CodeLayout layout(basis.shape());
  need(vectors.size() == layout.queries * layout.width && head.size() == layout.head &&
           body.size() == layout.body,
       "expected a picture's vectors and room for its bytes", "index");
  need(all_finite(vectors), "a picture's vectors hold a number that is not finite", "index");
  std::fill(head.begin(), head.end(), std::byte{0});
  std::fill(body.begin(), body.end(), std::byte{0});
  const std::vector<float> rotated = basis.rotate(vectors);
  const double rounding = query_rounding(basis.steps());
  double largest = 0;
  for (std::size_t q = 0; q < layout.queries; ++q) {
    auto* codes = reinterpret_cast<std::int8_t*>(body.data()) + q * layout.stride;
    largest = std::max(
        largest, encode_vector(basis.steps(), rotated.data() + q * layout.width, rounding, codes));
    for (std::size_t d = 0; d < std::min(layout.width, CodeLayout::kHeadNumbers); ++d) {
      head[layout.number(d, q)] = static_cast<std::byte>(codes[d]);
    }
    head[layout.length(q)] = rest_of(codes, basis.steps());
  }
  // The rotation is orthogonal up to the rounding of f32, and products round once more.
  return static_cast<float>(largest + 1e-5);
}

std::vector<float> decode(const Basis& basis, std::span<const std::byte> body) {
  const CodeLayout layout(basis.shape());
  need(body.size() == layout.body, "expected a picture's body", "index");
  std::vector<float> rotated(layout.queries * layout.width);
  for (std::size_t q = 0; q < layout.queries; ++q) {
    const auto* codes = reinterpret_cast<const std::int8_t*>(body.data()) + q * layout.stride;
    for (std::size_t d = 0; d < layout.width; ++d) {
      rotated[q * layout.width + d] = basis.steps()[d] * codes[d];
    }
  }
  return basis.rotate_back(rotated);
}

}  // namespace blip2
