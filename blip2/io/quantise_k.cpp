#include "blip2/io/quantise_k_internal.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "blip2/io/half.h"

// ggml-quants.c's quantize_row_q*_K_ref, operation by operation.

namespace blip2 {
namespace {

template <int N>
using Codes = std::array<std::int8_t, N>;

std::size_t at(int i) {
  return static_cast<std::size_t>(i);
}

int nearest(float value) {
  return static_cast<int>(std::nearbyint(value));
}

// x is near scale * code - minimum.
struct Fit {
  float scale = 0, minimum = 0;
  Codes<32> codes{};
};

// What is tried for 32 numbers: the range in `most` steps, then in most + first, most + first + 0.1
// … steps, each by least squares for the codes that it gives.
struct Search {
  int most;
  float first;
  int tries;
};
constexpr Search kFourBits{15, -1.0f, 21}, kFiveBits{31, -0.5f, 16};

class Fitter {
 public:
  Fitter(const float* x, const Search& search) : x_(x), search_(search) {
    float squares = 0;
    for (int i = 0; i < 32; ++i) squares += x[i] * x[i];
    const float size = std::sqrt(squares / 32.0f);
    for (int i = 0; i < 32; ++i) weight_[at(i)] = size + std::abs(x[i]);
    for (int i = 0; i < 32; ++i) sum_w_ += weight_[at(i)], sum_x_ += weight_[at(i)] * x[i];
    low_ = std::min(*std::min_element(x, x + 32), 0.0f);
    high_ = *std::max_element(x, x + 32);
  }

  Fit fit() const {
    if (high_ == low_) return {0, -low_, {}};
    const auto most = static_cast<float>(search_.most);
    float inverse = most / (high_ - low_);
    Fit best{1.0f / inverse, -low_, codes(inverse, low_)};
    float least = error(best);
    for (int step = 0; step < search_.tries; ++step) {
      const float low = -best.minimum;  // each try starts from the best one's minimum
      inverse = (search_.first + 0.1f * static_cast<float>(step) + most) / (high_ - low);
      Fit found{0, 0, codes(inverse, low)};
      if (!solve(found)) continue;
      const float off = error(found);
      if (off < least) least = off, best = found;
    }
    return best;
  }

 private:
  Codes<32> codes(float inverse, float low) const {
    Codes<32> codes;
    for (int i = 0; i < 32; ++i) {
      codes[at(i)] =
          static_cast<std::int8_t>(std::clamp(nearest(inverse * (x_[i] - low)), 0, search_.most));
    }
    return codes;
  }

  float error(const Fit& fit) const {
    float sum = 0;
    for (int i = 0; i < 32; ++i) {
      const float off = fit.scale * static_cast<float>(fit.codes[at(i)]) - fit.minimum - x_[i];
      sum += weight_[at(i)] * (off * off);
    }
    return sum;
  }

  // The least squares for these codes; the minimum is not below zero.
  bool solve(Fit& fit) const {
    float l = 0, l2 = 0, xl = 0;
    for (int i = 0; i < 32; ++i) {
      const auto code = static_cast<float>(fit.codes[at(i)]);
      const float w = weight_[at(i)];
      l += w * code, l2 += w * code * code, xl += w * code * x_[i];
    }
    const float determinant = sum_w_ * l2 - l * l;
    if (!(determinant > 0)) return false;
    fit.scale = (sum_w_ * xl - sum_x_ * l) / determinant;
    fit.minimum = -((l2 * sum_x_ - l * xl) / determinant);
    if (fit.minimum < 0) fit.minimum = 0, fit.scale = xl / l2;
    return true;
  }

  const float* x_;
  Search search_;
  std::array<float, 32> weight_{};
  float low_ = 0, high_ = 0, sum_w_ = 0, sum_x_ = 0;
};

// Six bits of each of eight scales and minima in twelve bytes.
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

// Scales, minima and codes of eight parts: what Q4_K and Q5_K have alike.
class Parts {
 public:
  // Writes the first sixteen bytes of the block.
  Parts(const float* x, const Search& search, std::byte* out) {
    float scale = 0, minimum = 0;
    for (int j = 0; j < 8; ++j) {
      Fit& fit = fits_[at(j)] = Fitter(x + 32 * j, search).fit();
      scale = std::max(scale, fit.scale), minimum = std::max(minimum, fit.minimum);
    }
    put_half(out, scale / 63.0f);
    put_half(out + 2, minimum / 63.0f);
    const float steps = scale > 0 ? 63.0f / scale : 0,
                min_steps = minimum > 0 ? 63.0f / minimum : 0;
    for (int j = 0; j < 8; ++j) {
      Fit& fit = fits_[at(j)];
      const int s = std::min(63, nearest(steps * fit.scale)),
                m = std::min(63, nearest(min_steps * fit.minimum));
      put_scale_and_minimum(out + 4, j, s, m);
      choose(x + 32 * j, from_half(to_half(scale / 63.0f)) * static_cast<float>(s),
             from_half(to_half(minimum / 63.0f)) * static_cast<float>(m), search.most, fit.codes);
    }
  }

  int code(int i) const { return fits_[at(i / 32)].codes[at(i % 32)]; }

 private:
  static void choose(const float* x, float d, float minimum, int most, Codes<32>& codes) {
    if (d == 0) return;
    for (int i = 0; i < 32; ++i) {
      codes[at(i)] = static_cast<std::int8_t>(std::clamp(nearest((x[i] + minimum) / d), 0, most));
    }
  }

  std::array<Fit, 8> fits_;
};

// Q6_K's scale of sixteen numbers: the one of nineteen whose least squares leave the least error,
// weighed by the numbers' squares. Codes from -32 to 31 into `codes`, plus 32.
float fit_sixteen(const float* x, Codes<16>& codes) {
  float most = 0, found = 0;
  for (int i = 0; i < 16; ++i) {
    if (std::abs(x[i]) > most) most = std::abs(x[i]), found = x[i];
  }
  codes.fill(0);
  if (most < 1e-15f) return 0;
  float scale = 0, best = 0;
  for (const int step : {0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
    const float inverse =
        step == 0 ? -32.0f / found : -(32.0f + 0.1f * static_cast<float>(step)) / found;
    float xl = 0, l2 = 0;
    Codes<16> tried;
    for (int i = 0; i < 16; ++i) {
      const int code = std::clamp(nearest(inverse * x[i]), -32, 31);
      tried[at(i)] = static_cast<std::int8_t>(code + 32);
      const float w = x[i] * x[i], l = static_cast<float>(code);
      xl += w * x[i] * l, l2 += w * l * l;
    }
    if (step == 0 ? l2 == 0 : !(l2 > 0 && xl * xl > best * l2)) continue;
    codes = tried;
    scale = xl / l2;
    best = scale * xl;
  }
  return scale;
}

}  // namespace

void quantise_q4_k(const float* x, std::byte* out) {
  const Parts parts(x, kFourBits, out);
  for (int i = 0; i < 128; ++i) {
    const int first = i / 32 * 64 + i % 32;
    out[16 + i] = static_cast<std::byte>(parts.code(first) | parts.code(first + 32) << 4);
  }
}

void quantise_q5_k(const float* x, std::byte* out) {
  const Parts parts(x, kFiveBits, out);
  for (int i = 0; i < 256; ++i) {
    const int part = i / 32, code = parts.code(i);
    out[16 + i % 32] |= static_cast<std::byte>(code >> 4 << part);
    out[48 + part / 2 * 32 + i % 32] |= static_cast<std::byte>((code & 15) << (part % 2 * 4));
  }
}

void quantise_q6_k(const float* x, std::byte* out) {
  std::array<Codes<16>, 16> codes;
  std::array<float, 16> scales;
  float most = 0;  // of the largest magnitude, the first of equals
  for (int j = 0; j < 16; ++j) {
    scales[at(j)] = fit_sixteen(x + 16 * j, codes[at(j)]);
    if (std::abs(scales[at(j)]) > std::abs(most)) most = scales[at(j)];
  }
  if (std::abs(most) < 1e-15f) return;
  const float inverse = -128.0f / most, d = from_half(to_half(1.0f / inverse));
  put_half(out + 208, 1.0f / inverse);
  for (int i = 0; i < 256; ++i) {
    const int scale = std::min(127, nearest(inverse * scales[at(i / 16)]));
    out[192 + i / 16] = static_cast<std::byte>(static_cast<std::int8_t>(scale));
    const float step = d * static_cast<float>(scale);
    int code = codes[at(i / 16)][at(i % 16)];
    if (step != 0) code = std::clamp(nearest(x[i] / step), -32, 31) + 32;
    const int half = i / 128, part = i % 128 / 32, place = i % 32;
    out[half * 64 + part % 2 * 32 + place] |= static_cast<std::byte>((code & 15) << (part / 2 * 4));
    out[128 + half * 32 + place] |= static_cast<std::byte>(code >> 4 << (2 * part));
  }
}

}  // namespace blip2
