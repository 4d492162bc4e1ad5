#include "blip2/io/quantise.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "blip2/base/error.h"

// ggml-quants.c's quantize_row_*_ref, operation by operation.
namespace blip2 {
namespace {

using Codes = std::array<std::uint8_t, 32>;

// Binary32 to binary16, to nearest even; what is too large becomes infinity.
std::uint16_t to_half(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value), sign = bits >> 16 & 0x8000u;
  const std::uint32_t size = bits & 0x7fffffffu;
  if (size >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (size < 0x38800000u) {  // subnormal: adding 0.5 leaves a multiple of 2^-24 in the low bits
    const float shifted = std::bit_cast<float>(size) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
  }
  const std::uint32_t rounded = size - 0x38000000u + 0xfffu + (size >> 13 & 1u);
  return static_cast<std::uint16_t>(sign | rounded >> 13);
}

float from_half(std::uint16_t half) {
  const float magnitude =
      std::ldexp(static_cast<float>((half & 0x3ffu) | (half & 0x7c00u ? 0x400u : 0u)),
                 std::max(1, half >> 10 & 31) - 25);
  return half & 0x8000u ? -magnitude : magnitude;
}

void put_half(std::byte* out, float value) {
  const std::uint16_t half = to_half(value);
  std::memcpy(out, &half, sizeof half);
}

int nearest(float value) {
  return static_cast<int>(std::nearbyint(value));
}

void q8_0(const float* x, std::byte* out) {
  float most = 0;
  for (int i = 0; i < 32; ++i) most = std::max(most, std::abs(x[i]));
  const float d = most / 127.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  put_half(out, d);
  for (int i = 0; i < 32; ++i) {
    out[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(std::round(x[i] * inverse)));
  }
}

void q4_0(const float* x, std::byte* out) {
  float most = 0, at_most = 0;  // the largest magnitude, and the number that has it
  for (int i = 0; i < 32; ++i) {
    if (std::abs(x[i]) > most) most = std::abs(x[i]), at_most = x[i];
  }
  const float d = at_most / -8.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  put_half(out, d);
  const auto code = [&](float value) {
    return static_cast<std::uint8_t>(std::min(15, static_cast<int>(value * inverse + 8.5f)));
  };
  for (int i = 0; i < 16; ++i) {
    out[2 + i] = static_cast<std::byte>(code(x[i]) | code(x[16 + i]) << 4);
  }
}

// x is near scale * code - minimum.
struct Fit {
  float scale = 0, minimum = 0;
};

class Fitter {
 public:
  explicit Fitter(const float* x) : x_(x) {
    float squares = 0;
    for (int i = 0; i < 32; ++i) squares += x[i] * x[i];
    const float size = std::sqrt(squares / 32.0f);
    for (int i = 0; i < 32; ++i) weight_[at(i)] = size + std::abs(x[i]);
    low_ = *std::min_element(x, x + 32);
    high_ = *std::max_element(x, x + 32);
    for (int i = 0; i < 32; ++i) sum_w_ += weight_[at(i)], sum_x_ += weight_[at(i)] * x[i];
    low_ = std::min(low_, 0.0f);
  }

  Fit fit() const {
    if (high_ == low_) return {0, -low_};
    Fit best{(high_ - low_) / 15.0f, -low_};
    float least = error(codes(15.0f, low_), best);
    for (int step = 0; step <= 20; ++step) {
      // As in the reference, from the best minimum so far.
      const Codes tried = codes(-1.0f + 0.1f * static_cast<float>(step) + 15.0f, -best.minimum);
      Fit found;
      if (!solve(tried, found)) continue;
      const float off = error(tried, found);
      if (off < least) least = off, best = found;
    }
    return best;
  }

 private:
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }

  Codes codes(float steps, float low) const {
    const float inverse = steps / (high_ - low);
    Codes codes;
    for (int i = 0; i < 32; ++i) {
      codes[at(i)] = static_cast<std::uint8_t>(std::clamp(nearest(inverse * (x_[i] - low)), 0, 15));
    }
    return codes;
  }

  float error(const Codes& codes, const Fit& fit) const {
    float sum = 0;
    for (int i = 0; i < 32; ++i) {
      const float off = fit.scale * static_cast<float>(codes[at(i)]) - fit.minimum - x_[i];
      sum += weight_[at(i)] * off * off;
    }
    return sum;
  }

  // The least squares for these codes; the minimum is not below zero.
  bool solve(const Codes& codes, Fit& fit) const {
    float l = 0, l2 = 0, xl = 0;
    for (int i = 0; i < 32; ++i) {
      const auto code = static_cast<float>(codes[at(i)]);
      const float w = weight_[at(i)];
      l += w * code, l2 += w * code * code, xl += w * code * x_[i];
    }
    const float determinant = sum_w_ * l2 - l * l;
    if (!(determinant > 0)) return false;
    fit.scale = (sum_w_ * xl - sum_x_ * l) / determinant;
    fit.minimum = -(l2 * sum_x_ - l * xl) / determinant;
    if (fit.minimum < 0) fit = {xl / l2, 0};
    return true;
  }

  const float* x_;
  std::array<float, 32> weight_{};
  float low_ = 0, high_ = 0, sum_w_ = 0, sum_x_ = 0;
};

void put_scale_and_minimum(std::byte* out, int i, int scale, int minimum) {
  const auto byte = [](int value) { return static_cast<std::byte>(value); };
  if (i < 4) {
    out[i] = byte(scale), out[4 + i] = byte(minimum);
    return;
  }
  out[4 + i] = byte((scale & 15) | (minimum & 15) << 4);
  out[i - 4] |= byte(scale >> 4 << 6);
  out[i] |= byte(minimum >> 4 << 6);
}

void q4_k(const float* x, std::byte* out) {
  std::array<Fit, 8> fits;
  Fit most;
  for (int j = 0; j < 8; ++j) {
    Fit& fit = fits[static_cast<std::size_t>(j)] = Fitter(x + 32 * j).fit();
    most = {std::max(most.scale, fit.scale), std::max(most.minimum, fit.minimum)};
  }
  put_half(out, most.scale / 63.0f);
  put_half(out + 2, most.minimum / 63.0f);
  const float d = from_half(to_half(most.scale / 63.0f)),
              dmin = from_half(to_half(most.minimum / 63.0f));
  const float inverse = most.scale > 0 ? 63.0f / most.scale : 0,
              inverse_min = most.minimum > 0 ? 63.0f / most.minimum : 0;
  for (int j = 0; j < 8; ++j) {
    const Fit& fit = fits[static_cast<std::size_t>(j)];
    const int scale = std::clamp(nearest(inverse * fit.scale), 0, 63),
              minimum = std::clamp(nearest(inverse_min * fit.minimum), 0, 63);
    put_scale_and_minimum(out + 4, j, scale, minimum);
    const float step = d * static_cast<float>(scale), offset = dmin * static_cast<float>(minimum);
    for (int i = 0; i < 32; ++i) {
      const int code = step != 0 ? std::clamp(nearest((x[32 * j + i] + offset) / step), 0, 15) : 0;
      out[16 + j / 2 * 32 + i] |= static_cast<std::byte>(code << (j % 2 * 4));
    }
  }
}

}  // namespace

bool can_quantise(DType type) {
  return type == DType::q8_0 || type == DType::q4_0 || type == DType::q4_k;
}

std::vector<std::byte> quantise(DType type, std::span<const float> values) {
  const DTypeBlock block = dtype_block(type);
  const auto elements = static_cast<std::size_t>(block.elements),
             bytes = static_cast<std::size_t>(block.bytes), count = values.size() / elements;
  if (!can_quantise(type) || count * elements != values.size()) {
    throw Error("cannot quantise to " + std::string(dtype_name(type)));
  }
  std::vector<std::byte> out(count * bytes);
  for (std::size_t i = 0; i < count; ++i) {
    const float* from = values.data() + i * elements;
    std::byte* const to = out.data() + i * bytes;
    if (type == DType::q8_0) q8_0(from, to);
    if (type == DType::q4_0) q4_0(from, to);
    if (type == DType::q4_k) q4_k(from, to);
  }
  return out;
}

}  // namespace blip2
