#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// Element types of weight files.
enum class DType {
  f32,
  f16,
  bf16,
  f64,
  i64,
  i32,
  i16,
  i8,
  u8,
  boolean,  // plain
  f8_e4m3,
  f8_e5m2,  // widened when they are read
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  f8_e8m0,
  f6_e2m3,
  f6_e3m2,
  f4,
  u16,
  u32,
  u64,
  c64,  // listed only: a file may hold them, a model cannot
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  mxfp4,  // GGUF's quantised types, in blocks along the last dimension
  q2_k,
  q3_k,
  iq2_xxs,
  iq2_xs,
  iq3_xxs,
  iq1_s,
  iq3_s,
  iq2_s,
  iq4_xs,
  iq1_m,
  tq1_0,
  tq2_0  // GGUF's other quantised types: listed only
};

// The type's name as safetensors and GGUF write it: "F32", "BF16", "BOOL", "Q4_K", …
std::string_view dtype_name(DType dtype);
// The type of that name; nullopt if there is none.
std::optional<DType> dtype_from_name(std::string_view name);

// A type's storage unit: `bytes` bytes hold `elements` elements (1 unless the type is quantised or
// an element takes less than a byte).
struct DTypeBlock {
  std::int64_t elements;
  std::int64_t bytes;
};
DTypeBlock dtype_block(DType dtype);
inline bool is_quantised(DType dtype) {
  return dtype >= DType::q4_0;
}
inline bool is_listed_only(DType dtype) {
  return (dtype >= DType::f8_e4m3fnuz && dtype <= DType::c64) || dtype >= DType::q2_k;
}
// The alignment in bytes that an element's address must have.
std::int64_t dtype_alignment(DType dtype);

// A named tensor in a file: row-major, outermost dimension first (GGUF's order is reversed on
// reading). `data` lives as long as the file object it came from and is aligned to the element's
// size; a quantised tensor's last dimension is a multiple of the block.
struct TensorView {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;

  std::int64_t numel() const;  // 1 for a scalar (no dimension)
};

// "F32 [2, 3]", for messages and listings.
std::string describe(const TensorView& tensor);

// The bytes of a tensor of this type and shape; nullopt if a dimension is negative, the last
// dimension is not a multiple of the quantised block, the tensor ends within a byte, or the product
// does not fit 63 bits.
std::optional<std::uint64_t> tensor_bytes(DType dtype, std::span<const std::int64_t> shape);

// Writes the elements as f32 to `out`; quantised types are dequantised exactly as
// gguf.quants.dequantize does it. Error unless `out` has numel() elements, and for types that are
// listed only.
void to_float32(const TensorView& tensor, std::span<float> out);

}  // namespace blip2
