#include "blip2/io/tensor_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

namespace blip2 {
namespace {

struct DTypeFacts {
  std::string_view name;
  DTypeBlock block;
};

// In the order of DType. Block sizes as in ggml-common.h.
constexpr std::array<DTypeFacts, 44> kFacts{
    {{"F32", {1, 4}},         {"F16", {1, 2}},         {"BF16", {1, 2}},
     {"F64", {1, 8}},         {"I64", {1, 8}},         {"I32", {1, 4}},
     {"I16", {1, 2}},         {"I8", {1, 1}},          {"U8", {1, 1}},
     {"BOOL", {1, 1}},        {"F8_E4M3", {1, 1}},     {"F8_E5M2", {1, 1}},
     {"F8_E4M3FNUZ", {1, 1}}, {"F8_E5M2FNUZ", {1, 1}}, {"F8_E8M0", {1, 1}},
     {"F6_E2M3", {4, 3}},     {"F6_E3M2", {4, 3}},     {"F4", {2, 1}},
     {"U16", {1, 2}},         {"U32", {1, 4}},         {"U64", {1, 8}},
     {"C64", {1, 8}},         {"Q4_0", {32, 18}},      {"Q4_1", {32, 20}},
     {"Q5_0", {32, 22}},      {"Q5_1", {32, 24}},      {"Q8_0", {32, 34}},
     {"Q4_K", {256, 144}},    {"Q5_K", {256, 176}},    {"Q6_K", {256, 210}},
     {"IQ4_NL", {32, 18}},    {"MXFP4", {32, 17}},     {"Q2_K", {256, 84}},
     {"Q3_K", {256, 110}},    {"IQ2_XXS", {256, 66}},  {"IQ2_XS", {256, 74}},
     {"IQ3_XXS", {256, 98}},  {"IQ1_S", {256, 50}},    {"IQ3_S", {256, 110}},
     {"IQ2_S", {256, 82}},    {"IQ4_XS", {256, 136}},  {"IQ1_M", {256, 56}},
     {"TQ1_0", {256, 54}},    {"TQ2_0", {256, 66}}}};

const DTypeFacts& facts(DType dtype) {
  return kFacts[static_cast<std::size_t>(dtype)];
}

}  // namespace

std::string_view dtype_name(DType dtype) {
  return facts(dtype).name;
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kFacts.size(); ++i) {
    if (kFacts[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

DTypeBlock dtype_block(DType dtype) {
  return facts(dtype).block;
}

std::int64_t dtype_alignment(DType dtype) {
  const DTypeBlock block = dtype_block(dtype);
  return block.elements > 1 ? 1 : block.bytes;
}

std::int64_t TensorView::numel() const {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

std::string describe(const TensorView& tensor) {
  return fmt::format("{} [{}]", dtype_name(tensor.dtype), fmt::join(tensor.shape, ", "));
}

std::optional<std::uint64_t> tensor_bytes(DType dtype, std::span<const std::int64_t> shape) {
  const DTypeBlock block = dtype_block(dtype);
  if (is_quantised(dtype) && (shape.empty() || shape.back() % block.elements != 0)) return {};
  std::int64_t count = 1, bytes = 0;
  bool empty = false;
  for (const std::int64_t size : shape) {
    if (size < 0) return {};
    empty = empty || size == 0;
    if (__builtin_mul_overflow(count, size == 0 ? 1 : size, &count)) return {};
  }
  if (!empty && count % block.elements != 0) return {};
  if (__builtin_mul_overflow(count / block.elements, block.bytes, &bytes)) return {};
  return empty ? 0 : static_cast<std::uint64_t>(bytes);
}

}  // namespace blip2
