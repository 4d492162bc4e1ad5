#include "blip2/language/block_choice_internal.h"

namespace blip2 {
namespace {

// The layers that llama.cpp gives more bits to (use_more_bits).
bool takes_more_bits(const TensorPlace& place) {
  const std::int64_t i = place.layer, eighth = place.layers / 8;
  return i < eighth || i >= 7 * place.layers / 8 || (i - eighth) % 3 == 2;
}

DType wide_enough(DType wanted, const TensorPlace& place) {
  switch (place.role) {
    case TensorRole::plain:
      return DType::f32;
    case TensorRole::head:
      return wanted == DType::q8_0 ? DType::q8_0 : DType::q6_k;
    case TensorRole::words:
    case TensorRole::matrix:
      return wanted;
    case TensorRole::joined_qkv:
      return wanted == DType::q4_k ? DType::q5_k : wanted;
    case TensorRole::values:
    case TensorRole::down:
      return wanted == DType::q4_k && takes_more_bits(place) ? DType::q6_k : wanted;
  }
  return wanted;
}

DType narrower(DType type) {
  if (type == DType::q4_k) return DType::q5_0;
  if (type == DType::q5_k) return DType::q5_1;
  return type == DType::q6_k ? DType::q8_0 : DType::f16;
}

}  // namespace

DType block_choice(DType wanted, const TensorPlace& place) {
  DType type = wide_enough(wanted, place);
  while (place.width % dtype_block(type).elements != 0) type = narrower(type);
  return type;
}

std::uint32_t file_type_of(DType wanted) {
  if (wanted == DType::q8_0) return 7;
  return wanted == DType::q4_0 ? 2 : 15;
}

std::string mix_name(DType wanted) {
  return wanted == DType::q4_k ? "Q4_K_M" : std::string(dtype_name(wanted));
}

}  // namespace blip2
