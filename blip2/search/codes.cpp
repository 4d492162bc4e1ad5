#include "blip2/search/codes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/search/code_layout_internal.h"
#include "blip2/search/eigenvectors_internal.h"

namespace blip2 {
namespace {

constexpr std::size_t kMostFitted = 16384;  // vectors that a basis is fitted on
constexpr double kRoom = 1.25;              // of the steps beyond the largest number seen
constexpr double kLeastReach = 1e-6;        // of the steps, where nothing was seen
constexpr float kLargest = 127;

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

// Sums of products of the numbers of vectors [n, E], in f64.
std::vector<double> second_moments(std::span<const float> vectors, std::size_t width) {
  std::vector<double> sums(width * width);
  for (std::size_t at = 0; at < vectors.size(); at += width) {
    for (std::size_t i = 0; i < width; ++i) {
      const double factor = vectors[at + i];
      for (std::size_t j = 0; j <= i; ++j) sums[i * width + j] += factor * vectors[at + j];
    }
  }
  for (std::size_t i = 0; i < width; ++i) {
    for (std::size_t j = 0; j < i; ++j) sums[j * width + i] = sums[i * width + j];
  }
  return sums;
}

std::vector<float> rotation_for(std::span<const float> sample, std::size_t width) {
  std::vector<float> rotation(width * width);
  if (sample.size() / width < width) {
    for (std::size_t i = 0; i < width; ++i) rotation[i * width + i] = 1;
    return rotation;
  }
  const std::vector<double> found = eigenvectors(second_moments(sample, width), width);
  for (std::size_t i = 0; i < width; ++i) {
    for (std::size_t j = 0; j < width; ++j) {
      rotation[j * width + i] = static_cast<float>(found[i * width + j]);
    }
  }
  return rotation;
}

// A vector times a matrix: the sum of rows [n, n] by the vector's numbers.
std::vector<float> sum_of_rows(const std::vector<float>& rows, std::span<const float> vector) {
  const std::size_t n = vector.size();
  std::vector<float> out(n);
  for (std::size_t i = 0; i < n; ++i) {
    const float* row = rows.data() + i * n;
    const float factor = vector[i];
    for (std::size_t j = 0; j < n; ++j) out[j] += factor * row[j];
  }
  return out;
}

// The length of the numbers behind the head, in the heads' units, rounded up.
std::uint16_t rest_of(const std::int8_t* codes, std::span<const float> steps) {
  double sum = 0;
  for (std::size_t d = CodeLayout::kHeadNumbers; d < steps.size(); ++d) {
    const double value = double{steps[d]} * codes[d];
    sum += value * value;
  }
  const double units = std::ceil(std::sqrt(sum) * (1 + 1e-9) / CodeLayout::kLengthUnit);
  need(units <= UINT16_MAX, "a picture's vectors are no unit vectors", "index");
  return static_cast<std::uint16_t>(units);
}

// A vector's codes; returns the square of its distance from what they say.
double encode_vector(const Basis& basis, std::span<const float> vector, std::int8_t* codes) {
  const std::vector<float> rotated = basis.rotate(vector);
  double error = 0;
  for (std::size_t d = 0; d < rotated.size(); ++d) {
    const float step = basis.steps()[d];
    const float code = std::clamp(std::nearbyint(rotated[d] / step), -kLargest, kLargest);
    need(std::isfinite(rotated[d]), "a picture's vectors hold a number that is not finite",
         "index");
    codes[d] = static_cast<std::int8_t>(code);
    const double off = double{rotated[d]} - double{step} * code;
    error += off * off;
  }
  return error;
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
  Basis basis(shape, rotation_for(sample, width), std::vector<float>(width));
  std::vector<float> largest(width);
  for (std::size_t at = 0; at < sample.size(); at += width) {
    const auto rotated = basis.rotate(std::span(sample).subspan(at, width));
    for (std::size_t d = 0; d < width; ++d) largest[d] = std::max(largest[d], std::abs(rotated[d]));
  }
  for (std::size_t d = 0; d < width; ++d) {
    basis.steps_[d] =
        static_cast<float>(kRoom * std::max<double>(largest[d], kLeastReach)) / kLargest;
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
  need(sound, "the basis holds numbers that no basis has", "index");
  return {shape, std::move(rotation), std::move(steps)};
}

std::vector<std::byte> Basis::bytes() const {
  std::vector<std::byte> bytes((rotation_.size() + steps_.size()) * sizeof(float));
  std::memcpy(bytes.data(), rotation_.data(), rotation_.size() * sizeof(float));
  std::memcpy(bytes.data() + rotation_.size() * sizeof(float), steps_.data(),
              steps_.size() * sizeof(float));
  return bytes;
}

std::vector<float> Basis::rotate(std::span<const float> vector) const {
  need(vector.size() == steps_.size(), "expected a vector of the index's width", "index");
  return sum_of_rows(rotation_, vector);
}

std::vector<float> Basis::rotate_back(std::span<const float> rotated) const {
  need(rotated.size() == steps_.size(), "expected a vector of the index's width", "index");
  std::vector<float> out(rotated.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float* row = rotation_.data() + i * out.size();
    double sum = 0;
    for (std::size_t j = 0; j < out.size(); ++j) sum += double{row[j]} * rotated[j];
    out[i] = static_cast<float>(sum);
  }
  return out;
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
  std::fill(head.begin(), head.end(), std::byte{0});
  std::fill(body.begin(), body.end(), std::byte{0});
  double largest = 0;
  for (std::size_t q = 0; q < layout.queries; ++q) {
    auto* codes = reinterpret_cast<std::int8_t*>(body.data()) + q * layout.stride;
    largest = std::max(
        largest, encode_vector(basis, vectors.subspan(q * layout.width, layout.width), codes));
    for (std::size_t d = 0; d < std::min(layout.width, CodeLayout::kHeadNumbers); ++d) {
      head[d * layout.lanes + q] = static_cast<std::byte>(codes[d]);
    }
    const std::uint16_t rest = rest_of(codes, basis.steps());
    std::memcpy(head.data() + layout.lanes * CodeLayout::kHeadNumbers + 2 * q, &rest, sizeof rest);
  }
  // The rotation is orthogonal up to the rounding of f32, and products round once more.
  return static_cast<float>(std::sqrt(largest) + 1e-5);
}

std::vector<float> decode(const Basis& basis, std::span<const std::byte> body) {
  const CodeLayout layout(basis.shape());
  need(body.size() == layout.body, "expected a picture's body", "index");
  std::vector<float> vectors, rotated(layout.width);
  for (std::size_t q = 0; q < layout.queries; ++q) {
    const auto* codes = reinterpret_cast<const std::int8_t*>(body.data()) + q * layout.stride;
    for (std::size_t d = 0; d < layout.width; ++d) rotated[d] = basis.steps()[d] * codes[d];
    const std::vector<float> vector = basis.rotate_back(rotated);
    vectors.insert(vectors.end(), vector.begin(), vector.end());
  }
  return vectors;
}

}  // namespace blip2
