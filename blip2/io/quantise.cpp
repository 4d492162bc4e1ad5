#include "blip2/io/quantise.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "blip2/base/error.h"
#include "blip2/io/half.h"
#include "blip2/io/quantise_k_internal.h"

// ggml-quants.c's quantize_row_*_ref, operation by operation.
namespace blip2 {
namespace {

constexpr int kWidth = 32;  // numbers of a block

std::byte as_byte(int value) {
  return static_cast<std::byte>(value);
}

void quantise_q8_0(const float* x, std::byte* out) {
  float most = 0;
  for (int i = 0; i < kWidth; ++i) most = std::max(most, std::abs(x[i]));
  const float d = most / 127.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  put_half(out, d);
  for (int i = 0; i < kWidth; ++i) {
    out[2 + i] = as_byte(static_cast<std::int8_t>(std::round(x[i] * inverse)));
  }
}

// The number of the largest magnitude, the first of equals.
float at_most(const float* x) {
  float most = 0, found = 0;
  for (int i = 0; i < kWidth; ++i) {
    if (std::abs(x[i]) > most) most = std::abs(x[i]), found = x[i];
  }
  return found;
}

void quantise_q4_0(const float* x, std::byte* out) {
  const float d = at_most(x) / -8.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  put_half(out, d);
  const auto code = [&](float value) {
    return std::min(15, static_cast<int>(value * inverse + 8.5f));
  };
  for (int i = 0; i < 16; ++i) out[2 + i] = as_byte(code(x[i]) | code(x[16 + i]) << 4);
}

// Codes of five bits: the low four of i and 16 + i share a byte, the fifth ones a word.
template <typename Code>
void put_five_bits(std::byte* out, const float* x, const Code& code) {
  std::uint32_t high = 0;
  for (int i = 0; i < 16; ++i) {
    const auto one = static_cast<std::uint32_t>(code(x[i])),
               other = static_cast<std::uint32_t>(code(x[16 + i]));
    out[4 + i] = static_cast<std::byte>((one & 15u) | (other & 15u) << 4);
    high |= (one >> 4 & 1u) << i | (other >> 4 & 1u) << (16 + i);
  }
  std::memcpy(out, &high, sizeof high);
}

void quantise_q5_0(const float* x, std::byte* out) {
  const float d = at_most(x) / -16.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  put_half(out, d);
  put_five_bits(out + 2, x, [&](float value) {
    return std::min(31, static_cast<int>(value * inverse + 16.5f));
  });
}

void quantise_q5_1(const float* x, std::byte* out) {
  const auto [low, high] = std::minmax_element(x, x + kWidth);
  const float from = *low, d = (*high - from) / 31.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  put_half(out, d);
  put_half(out + 2, from);
  put_five_bits(out + 4, x,
                [&](float value) { return static_cast<int>((value - from) * inverse + 0.5f); });
}

using Quantiser = void (*)(const float*, std::byte*);

Quantiser quantiser_of(DType type) {
  switch (type) {
    case DType::q8_0:
      return quantise_q8_0;
    case DType::q4_0:
      return quantise_q4_0;
    case DType::q5_0:
      return quantise_q5_0;
    case DType::q5_1:
      return quantise_q5_1;
    case DType::q4_k:
      return quantise_q4_k;
    case DType::q5_k:
      return quantise_q5_k;
    case DType::q6_k:
      return quantise_q6_k;
    default:
      return nullptr;
  }
}

}  // namespace

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
  if ((half & 0x7c00u) == 0x7c00u)
    throw Error("numbers are too large for a scale in half precision");
  std::memcpy(out, &half, sizeof half);
}

bool can_quantise(DType type) {
  return quantiser_of(type) != nullptr;
}

std::string_view scale_search(DType type) {
  switch (type) {
    case DType::q8_0:
      return "Q8_0: one scale of 32 numbers, the largest magnitude / 127";
    case DType::q4_0:
      return "Q4_0: one scale of 32 numbers, the largest by magnitude / -8";
    case DType::q5_0:
      return "Q5_0: one scale of 32 numbers, the largest by magnitude / -16";
    case DType::q5_1:
      return "Q5_1: one scale and minimum of 32 numbers, their range / 31";
    case DType::q4_k:
      return "Q4_K: the best of 22 scales and minima of 32 numbers, by squared error times "
             "(root mean square + magnitude)";
    case DType::q5_k:
      return "Q5_K: the best of 17 scales and minima of 32 numbers, by squared error times "
             "(root mean square + magnitude)";
    case DType::q6_k:
      return "Q6_K: the best of 19 scales of 16 numbers, by squared error times squared magnitude";
    default:
      return "not quantised";
  }
}

std::vector<std::byte> quantise(DType type, std::span<const float> values) {
  const DTypeBlock block = dtype_block(type);
  const auto elements = static_cast<std::size_t>(block.elements),
             bytes = static_cast<std::size_t>(block.bytes), count = values.size() / elements;
  const Quantiser into = quantiser_of(type);
  if (into == nullptr || count * elements != values.size()) {
    throw Error("cannot quantise " + std::to_string(values.size()) + " numbers to " +
                std::string(dtype_name(type)));
  }
  std::vector<std::byte> out(count * bytes);
  for (std::size_t i = 0; i < count; ++i) {
    into(values.data() + i * elements, out.data() + i * bytes);
  }
  return out;
}

}  // namespace blip2
