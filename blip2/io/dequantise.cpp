#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "blip2/base/error.h"
#include "blip2/base/processor.h"
#include "blip2/io/code_tables.h"
#include "blip2/io/tensor_view.h"

// Block layouts as in ggml-common.h; the order of the roundings as in gguf.quants.

#define BLIP2_INLINE inline __attribute__((always_inline))

namespace blip2 {
namespace {

using Bytes = const std::uint8_t*;

template <typename T>
BLIP2_INLINE T load(Bytes in) {
  T value;
  std::memcpy(&value, in, sizeof value);
  return value;
}

// IEEE binary16 to binary32, exact, without a branch so that loops over it vectorise.
BLIP2_INLINE float half_to_float(std::uint16_t half) {
  const std::uint32_t magnitude = half & 0x7fffu;
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(
      static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f);
  const std::uint32_t normal = (magnitude << 13) + (112u << 23);
  const std::uint32_t special = (magnitude << 13) | 0x7f800000u;  // infinity, not a number
  std::uint32_t bits = magnitude < 0x400 ? subnormal : normal;
  bits = magnitude >= 0x7c00 ? special : bits;
  return std::bit_cast<float>(bits | (static_cast<std::uint32_t>(half & 0x8000u) << 16));
}

BLIP2_INLINE float half_at(Bytes in) {
  return half_to_float(load<std::uint16_t>(in));
}

template <typename T>
struct Plain {
  static constexpr int kElements = 1, kBytes = sizeof(T);
  BLIP2_INLINE static void block(Bytes in, float* out) { *out = static_cast<float>(load<T>(in)); }
};

struct Boolean {
  static constexpr int kElements = 1, kBytes = 1;
  BLIP2_INLINE static void block(Bytes in, float* out) { *out = *in != 0 ? 1.0f : 0.0f; }
};

struct F16 {
  static constexpr int kElements = 1, kBytes = 2;
  BLIP2_INLINE static void block(Bytes in, float* out) { *out = half_at(in); }
};

struct BF16 {
  static constexpr int kElements = 1, kBytes = 2;
  BLIP2_INLINE static void block(Bytes in, float* out) {
    *out = std::bit_cast<float>(static_cast<std::uint32_t>(load<std::uint16_t>(in)) << 16);
  }
};

// A sign, five bits of exponent and two of mantissa: the upper byte of a binary16.
struct F8_E5M2 {
  static constexpr int kElements = 1, kBytes = 1;
  BLIP2_INLINE static void block(Bytes in, float* out) {
    *out = half_to_float(static_cast<std::uint16_t>(*in << 8));
  }
};

// A sign, four bits of exponent (bias 7) and three of mantissa; no infinity, all ones is no number.
struct F8_E4M3 {
  static constexpr int kElements = 1, kBytes = 1;
  BLIP2_INLINE static void block(Bytes in, float* out) {
    const unsigned magnitude = *in & 0x7fu;
    // As a binary16, whose exponent has another bias, it is 2^8 times smaller.
    const float value = half_to_float(static_cast<std::uint16_t>(magnitude << 7)) * 256.0f;
    const std::uint32_t bits =
        magnitude == 0x7f ? 0x7fc00000u : std::bit_cast<std::uint32_t>(value);
    *out = std::bit_cast<float>(bits | static_cast<std::uint32_t>(*in & 0x80u) << 24);
  }
};

struct Q4_0 {
  static constexpr int kElements = 32, kBytes = 18;
  BLIP2_INLINE static void block(Bytes in, float* out) {
    const float d = half_at(in);
    for (int i = 0; i < 16; ++i) out[i] = d * static_cast<float>((in[2 + i] & 15) - 8);
    for (int i = 0; i < 16; ++i) out[16 + i] = d * static_cast<float>((in[2 + i] >> 4) - 8);
  }
};

struct Q4_1 {
  static constexpr int kElements = 32, kBytes = 20;
  BLIP2_INLINE static void block(Bytes in, float* out) {
    const float d = half_at(in), m = half_at(in + 2);
    for (int i = 0; i < 16; ++i) out[i] = d * static_cast<float>(in[4 + i] & 15) + m;
    for (int i = 0; i < 16; ++i) out[16 + i] = d * static_cast<float>(in[4 + i] >> 4) + m;
  }
};

// The five-bit value of element i: a nibble of `low` and bit i of `high`.
BLIP2_INLINE int five_bits(std::uint32_t high, Bytes low, int i) {
  const int nibble = i < 16 ? low[i] & 15 : low[i - 16] >> 4;
  return nibble | static_cast<int>((high >> i & 1) << 4);
}

struct Q5_0 {
  static constexpr int kElements = 32, kBytes = 22;
  BLIP2_INLINE static void block(Bytes in, float* out) {
    const float d = half_at(in);
    const auto high = load<std::uint32_t>(in + 2);
    for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(five_bits(high, in + 6, i) - 16);
  }
};

struct Q5_1 {
  static constexpr int kElements = 32, kBytes = 24;
  BLIP2_INLINE static void block(Bytes in, float* out) {
    const float d = half_at(in), m = half_at(in + 2);
    const auto high = load<std::uint32_t>(in + 4);
    for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(five_bits(high, in + 8, i)) + m;
  }
};

struct Q8_0 {
  static constexpr int kElements = 32, kBytes = 34;
  BLIP2_INLINE static void block(Bytes in, float* out) {
    const float d = half_at(in);
    for (int i = 0; i < 32; ++i) {
      out[i] = static_cast<float>(static_cast<std::int8_t>(in[2 + i])) * d;
    }
  }
};

// The six-bit scale and minimum of sub-block i (of 8), packed in twelve bytes.
struct ScaleMin {
  float scale, minimum;
};
BLIP2_INLINE ScaleMin scale_min(Bytes in, int i) {
  if (i < 4) return {static_cast<float>(in[i] & 63), static_cast<float>(in[4 + i] & 63)};
  const int both = in[4 + i];
  return {static_cast<float>((both & 15) | (in[i - 4] >> 2 & 0x30)),
          static_cast<float>((both >> 4) | (in[i] >> 2 & 0x30))};
}

struct Q4_K {
  static constexpr int kElements = 256, kBytes = 144;
  BLIP2_INLINE static void block(Bytes in, float* out) {
    const float d = half_at(in), dmin = half_at(in + 2);
    for (int j = 0; j < 8; ++j) {
      const auto [scale, minimum] = scale_min(in + 4, j);
      const float factor = d * scale, offset = dmin * minimum;
      const Bytes low = in + 16 + j / 2 * 32;
      for (int i = 0; i < 32; ++i) {
        out[32 * j + i] = factor * static_cast<float>(low[i] >> (j % 2 * 4) & 15) - offset;
      }
    }
  }
};

struct Q5_K {
  static constexpr int kElements = 256, kBytes = 176;
  BLIP2_INLINE static void block(Bytes in, float* out) {
    const float d = half_at(in), dmin = half_at(in + 2);
    for (int j = 0; j < 8; ++j) {
      const auto [scale, minimum] = scale_min(in + 4, j);
      const float factor = d * scale, offset = dmin * minimum;
      const Bytes high = in + 16, low = in + 48 + j / 2 * 32;
      for (int i = 0; i < 32; ++i) {
        const int q = (low[i] >> (j % 2 * 4) & 15) | (high[i] >> j & 1) << 4;
        out[32 * j + i] = factor * static_cast<float>(q) - offset;
      }
    }
  }
};

struct Q6_K {
  static constexpr int kElements = 256, kBytes = 210;
  BLIP2_INLINE static void block(Bytes in, float* out) {
    const float d = half_at(in + 208);
    for (int j = 0; j < 16; ++j) {
      const int half = j / 8, at = j % 8 * 16;  // sixteen elements from `at` in a half of 128
      const float factor = d * static_cast<float>(static_cast<std::int8_t>(in[192 + j]));
      const Bytes low = in + half * 64 + at % 64, high = in + 128 + half * 32 + at % 32;
      for (int i = 0; i < 16; ++i) {
        const int q = (low[i] >> (at / 64 * 4) & 15) | (high[i] >> (at / 32 * 2) & 3) << 4;
        out[16 * j + i] = factor * static_cast<float>(q - 32);
      }
    }
  }
};

BLIP2_INLINE void table_block(const std::int8_t (&values)[16], float d, Bytes codes, float* out) {
  for (int i = 0; i < 16; ++i) out[i] = d * static_cast<float>(values[codes[i] & 15]);
  for (int i = 0; i < 16; ++i) out[16 + i] = d * static_cast<float>(values[codes[i] >> 4]);
}

struct IQ4_NL {
  static constexpr int kElements = 32, kBytes = 18;
  BLIP2_INLINE static void block(Bytes in, float* out) {
    table_block(kIq4NlValues, half_at(in), in + 2, out);
  }
};

struct MXFP4 {
  static constexpr int kElements = 32, kBytes = 17;
  BLIP2_INLINE static void block(Bytes in, float* out) {
    const std::uint32_t e = *in;  // 2^(e - 128)
    const std::uint32_t bits = e < 2 ? 0x00200000u << e : (e - 1) << 23;
    table_block(kMxfp4Values, std::bit_cast<float>(bits), in + 1, out);
  }
};

template <typename Format>
BLIP2_INLINE void convert_all(Bytes in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b) {
    Format::block(in + b * Format::kBytes, out + b * Format::kElements);
  }
}

template <typename Format>
void convert_plain(Bytes in, float* out, std::int64_t blocks) {
  convert_all<Format>(in, out, blocks);
}

#ifdef __x86_64__
template <typename Format>
__attribute__((target("avx2"))) void convert_avx2(Bytes in, float* out, std::int64_t blocks) {
  convert_all<Format>(in, out, blocks);
}
#endif

template <typename Format>
void convert(Bytes in, std::span<float> out) {
  const auto blocks = static_cast<std::int64_t>(out.size()) / Format::kElements;
#ifdef __x86_64__
  if (processor().avx2) return convert_avx2<Format>(in, out.data(), blocks);
#endif
  convert_plain<Format>(in, out.data(), blocks);
}

void convert(DType dtype, Bytes in, std::span<float> out) {
  switch (dtype) {
    case DType::f32:
      return convert<Plain<float>>(in, out);
    case DType::f16:
      return convert<F16>(in, out);
    case DType::bf16:
      return convert<BF16>(in, out);
    case DType::f64:
      return convert<Plain<double>>(in, out);
    case DType::i64:
      return convert<Plain<std::int64_t>>(in, out);
    case DType::i32:
      return convert<Plain<std::int32_t>>(in, out);
    case DType::i16:
      return convert<Plain<std::int16_t>>(in, out);
    case DType::i8:
      return convert<Plain<std::int8_t>>(in, out);
    case DType::u8:
      return convert<Plain<std::uint8_t>>(in, out);
    case DType::boolean:
      return convert<Boolean>(in, out);
    case DType::f8_e4m3:
      return convert<F8_E4M3>(in, out);
    case DType::f8_e5m2:
      return convert<F8_E5M2>(in, out);
    case DType::q4_0:
      return convert<Q4_0>(in, out);
    case DType::q4_1:
      return convert<Q4_1>(in, out);
    case DType::q5_0:
      return convert<Q5_0>(in, out);
    case DType::q5_1:
      return convert<Q5_1>(in, out);
    case DType::q8_0:
      return convert<Q8_0>(in, out);
    case DType::q4_k:
      return convert<Q4_K>(in, out);
    case DType::q5_k:
      return convert<Q5_K>(in, out);
    case DType::q6_k:
      return convert<Q6_K>(in, out);
    case DType::iq4_nl:
      return convert<IQ4_NL>(in, out);
    case DType::mxfp4:
      return convert<MXFP4>(in, out);
    default:
      return;  // listed only: to_float32 has refused it
  }
}

}  // namespace

void to_float32(const TensorView& tensor, std::span<float> out) {
  const auto bytes = tensor_bytes(tensor.dtype, tensor.shape);
  if (bytes != tensor.data.size() || out.size() != static_cast<std::size_t>(tensor.numel())) {
    throw Error(fmt::format("{} with {} bytes does not convert to {} numbers", describe(tensor),
                            tensor.data.size(), out.size()),
                "tensor \"" + tensor.name + "\"");
  }
  if (is_listed_only(tensor.dtype)) {
    throw Error(fmt::format("numbers of type {} cannot be computed with", dtype_name(tensor.dtype)),
                "tensor \"" + tensor.name + "\"", "save it in another type, F32 or BF16 say");
  }
  convert(tensor.dtype, reinterpret_cast<Bytes>(tensor.data.data()), out);
}

}  // namespace blip2
