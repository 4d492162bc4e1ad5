#include "blip2/nn/kernels/block_layout.h"

#include <array>
#include <cstring>

namespace blip2 {
namespace {

using Int = std::int64_t;
using Bytes = const std::uint8_t*;
using Quads = std::array<std::uint32_t, 8>;  // the codes of 32 elements, a byte each

constexpr std::uint32_t kLow4 = 0x0f0f0f0fu;

template <typename T>
T load(Bytes in) {
  T value;
  std::memcpy(&value, in, sizeof value);
  return value;
}

std::uint32_t quad_at(Bytes in, int j) {
  return load<std::uint32_t>(in + 4 * j);
}

// Sixteen bytes with two nibbles each: the first sixteen codes in the lower ones.
Quads nibbles(Bytes in) {
  Quads codes;
  for (int j = 0; j < 4; ++j) {
    const std::uint32_t both = quad_at(in, j);
    codes[static_cast<std::size_t>(j)] = both & kLow4;
    codes[static_cast<std::size_t>(j) + 4] = both >> 4 & kLow4;
  }
  return codes;
}

// Adds bit e of `high` to code e as its fifth.
void add_fifth_bits(Quads& codes, std::uint32_t high) {
  for (std::uint32_t& quad : codes) {
    quad |= ((high & 15u) * 0x00204081u & 0x01010101u) << 4;
    high >>= 4;
  }
}

// What one block of 32 of a row gives: its codes, and its scales as bytes where a group has them.
struct Block {
  Quads codes;
  std::array<std::uint16_t, 2> halves{};  // d and m, or d and dmin of the 256
  std::array<std::uint8_t, 2> bytes{};    // scales of K types; MXFP4's exponent
};

// The six-bit scale and minimum of sub-block i (of 8), packed in twelve bytes.
std::array<std::uint8_t, 2> scale_and_minimum(Bytes in, int i) {
  const auto byte = [](int value) { return static_cast<std::uint8_t>(value); };
  if (i < 4) return {byte(in[i] & 63), byte(in[4 + i] & 63)};
  const int both = in[4 + i];
  return {byte((both & 15) | (in[i - 4] >> 2 & 0x30)), byte((both >> 4) | (in[i] >> 2 & 0x30))};
}

Block q4_k(Bytes in, int i) {
  Block block{{}, {load<std::uint16_t>(in), load<std::uint16_t>(in + 2)}, {}};
  for (std::size_t j = 0; j < 8; ++j) {
    block.codes[j] = quad_at(in + 16 + i / 2 * 32, static_cast<int>(j)) >> (i % 2 * 4) & kLow4;
  }
  block.bytes = scale_and_minimum(in + 4, i);
  return block;
}

Block q5_k(Bytes in, int i) {
  Block block{{}, {load<std::uint16_t>(in), load<std::uint16_t>(in + 2)}, {}};
  for (std::size_t j = 0; j < 8; ++j) {
    const int at = static_cast<int>(j);
    block.codes[j] = (quad_at(in + 48 + i / 2 * 32, at) >> (i % 2 * 4) & kLow4) |
                     (quad_at(in + 16, at) >> i & 0x01010101u) << 4;
  }
  block.bytes = scale_and_minimum(in + 4, i);
  return block;
}

Block q6_k(Bytes in, int i) {
  Block block{{}, {load<std::uint16_t>(in + 208), 0}, {in[192 + 2 * i], in[193 + 2 * i]}};
  const Bytes low = in + i / 4 * 64 + i % 2 * 32, high = in + 128 + i / 4 * 32;
  for (std::size_t j = 0; j < 8; ++j) {
    const int at = static_cast<int>(j);
    block.codes[j] = (quad_at(low, at) >> (i % 4 / 2 * 4) & kLow4) |
                     (quad_at(high, at) >> (i % 4 * 2) & 0x03030303u) << 4;
  }
  return block;
}

// Block i of the file's block at `in`: i is 0 for types of 32.
Block read_block(DType type, Bytes in, int i) {
  Block block{{}, {load<std::uint16_t>(in), 0}, {}};
  switch (type) {
    case DType::q4_0:
      block.codes = nibbles(in + 2);
      return block;
    case DType::q4_1:
      block.codes = nibbles(in + 4);
      block.halves[1] = load<std::uint16_t>(in + 2);
      return block;
    case DType::q5_0:
      block.codes = nibbles(in + 6);
      add_fifth_bits(block.codes, load<std::uint32_t>(in + 2));
      return block;
    case DType::q5_1:
      block.codes = nibbles(in + 8);
      add_fifth_bits(block.codes, load<std::uint32_t>(in + 4));
      block.halves[1] = load<std::uint16_t>(in + 2);
      return block;
    case DType::q8_0:
      for (std::size_t j = 0; j < 8; ++j) {
        block.codes[j] = quad_at(in + 2, static_cast<int>(j)) ^ 0x80808080u;
      }
      return block;
    case DType::iq4_nl:
      block.codes = nibbles(in + 2);
      return block;
    case DType::mxfp4:
      return {nibbles(in + 1), {}, {*in, 0}};
    case DType::q4_k:
      return q4_k(in, i);
    case DType::q5_k:
      return q5_k(in, i);
    default:
      return q6_k(in, i);
  }
}

void put(std::byte* line, Int out, std::uint32_t quad) {
  std::memcpy(line + 4 * out, &quad, sizeof quad);
}

void put_codes(const Quads& codes, int bits, Int out, std::byte* lines) {
  if (bits == 8) {
    for (std::size_t t = 0; t < 8; ++t) {
      put(lines + static_cast<Int>(t) * kLineBytes, out, codes[t]);
    }
    return;
  }
  for (std::size_t j = 0; j < 4; ++j) {
    put(lines + static_cast<Int>(j) * kLineBytes, out,
        (codes[j] & kLow4) | (codes[j + 4] & kLow4) << 4);
  }
  std::uint32_t high[2] = {};
  for (std::size_t t = 0; t < 8; ++t) {
    if (bits == 5) high[0] |= (codes[t] >> 4 & 0x01010101u) << t;
    if (bits == 6) high[t / 4] |= (codes[t] >> 4 & 0x03030303u) << (2 * (t % 4));
  }
  if (bits > 4) put(lines + 4 * kLineBytes, out, high[0]);
  if (bits > 5) put(lines + 5 * kLineBytes, out, high[1]);
}

void put_half(std::byte* halves, Int out, std::uint16_t value) {
  std::memcpy(halves + 2 * out, &value, sizeof value);
}

constexpr Int kHalves = 2 * kGroupOuts;  // bytes of a half for each out

// The scales of block i of those that share `scales`.
void put_scales(DType type, const Block& block, int i, Int out, std::byte* scales) {
  if (type == DType::mxfp4) {
    scales[out] = std::byte{block.bytes[0]};
    return;
  }
  put_half(scales, out, block.halves[0]);
  if (type == DType::q4_1 || type == DType::q5_1) put_half(scales + kHalves, out, block.halves[1]);
  if (block_layout(type)->blocks == 1) return;
  const bool minimum = type != DType::q6_k;
  if (minimum) put_half(scales + kHalves, out, block.halves[1]);
  std::byte* const bytes = scales + (minimum ? 2 : 1) * kHalves + i * 2 * kGroupOuts;
  bytes[out] = std::byte{block.bytes[0]};
  bytes[kGroupOuts + out] = std::byte{block.bytes[1]};
}

bool is_finite(std::uint16_t half) {
  return (half & 0x7c00u) != 0x7c00u;
}

// MXFP4's exponent 255 is no number.
bool has_finite_scales(DType type, const Block& block) {
  if (type == DType::mxfp4) return block.bytes[0] != 255;
  return is_finite(block.halves[0]) && is_finite(block.halves[1]);
}

// Whether all scales are finite.
bool pack_row(DType type, const BlockLayout& layout, const std::byte* row, Int width, Int out,
              std::byte* lines) {
  const DTypeBlock size = dtype_block(type);
  const Int blocks = width / kBlockWidth;
  std::byte* scales = lines + blocks * layout.bits * kLineBytes;
  bool finite = true;
  for (Int super = 0; super < blocks / layout.blocks; ++super) {
    const auto* in = reinterpret_cast<Bytes>(row + super * size.bytes);
    for (int i = 0; i < static_cast<int>(layout.blocks); ++i) {
      const Block block = read_block(type, in, i);
      put_codes(block.codes, layout.bits, out, lines);
      put_scales(type, block, i, out, scales);
      finite = finite && has_finite_scales(type, block);
      lines += layout.bits * kLineBytes;
    }
    scales += layout.scale_bytes;
  }
  return finite;
}

}  // namespace

std::optional<BlockLayout> block_layout(DType type) {
  switch (type) {
    case DType::q4_0:
      return BlockLayout{4, 1, kHalves};
    case DType::q4_1:
      return BlockLayout{4, 1, 2 * kHalves};
    case DType::q5_0:
      return BlockLayout{5, 1, kHalves};
    case DType::q5_1:
      return BlockLayout{5, 1, 2 * kHalves};
    case DType::q8_0:
      return BlockLayout{8, 1, kHalves};
    case DType::q4_k:
      return BlockLayout{4, 8, 2 * kHalves + 16 * kGroupOuts};
    case DType::q5_k:
      return BlockLayout{5, 8, 2 * kHalves + 16 * kGroupOuts};
    case DType::q6_k:
      return BlockLayout{6, 8, kHalves + 16 * kGroupOuts};
    case DType::iq4_nl:
      return BlockLayout{4, 1, kHalves};
    case DType::mxfp4:
      return BlockLayout{4, 1, kGroupOuts};
    default:
      return std::nullopt;
  }
}

Int group_bytes(DType type, Int width) {
  const BlockLayout layout = block_layout(type).value();
  const Int blocks = width / kBlockWidth;
  const Int bytes = blocks * layout.bits * kLineBytes + blocks / layout.blocks * layout.scale_bytes;
  return (bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
}

Int packed_bytes(DType type, Int outs, Int width) {
  return (outs + kGroupOuts - 1) / kGroupOuts * group_bytes(type, width);
}

bool has_finite_scales(DType type, std::span<const std::byte> blocks) {
  const auto* in = reinterpret_cast<Bytes>(blocks.data());
  const auto bytes = static_cast<std::size_t>(dtype_block(type).bytes);
  for (const Bytes end = in + blocks.size(); in < end; in += bytes) {
    if (!has_finite_scales(type, read_block(type, in, 0))) return false;
  }
  return true;
}

Int pack_groups(DType type, const std::byte* rows, Int outs, Int width,
                std::span<const std::int32_t> from, Int begin, Int end, std::byte* packed) {
  const BlockLayout layout = block_layout(type).value();
  const DTypeBlock size = dtype_block(type);
  const Int bytes = group_bytes(type, width), row_bytes = width / size.elements * size.bytes;
  Int bad = -1;
  for (Int group = begin; group < end; ++group) {
    std::byte* const to = packed + group * bytes;
    if ((group + 1) * kGroupOuts > outs) std::memset(to, 0, static_cast<std::size_t>(bytes));
    for (Int o = 0; o < kGroupOuts && group * kGroupOuts + o < outs; ++o) {
      const Int out = group * kGroupOuts + o;
      const Int row = from.empty() ? out : from[static_cast<std::size_t>(out)];
      const bool finite = pack_row(type, layout, rows + row * row_bytes, width, o, to);
      if (!finite && bad < 0) bad = out;
    }
  }
  return bad;
}

}  // namespace blip2
