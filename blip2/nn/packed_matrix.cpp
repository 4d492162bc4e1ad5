#include "blip2/nn/packed_matrix.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <utility>

#include "blip2/base/processor.h"

namespace blip2 {
namespace {

using c10::IValue;

// The operator, which LibTorch has on x86 alone.
std::optional<c10::OperatorHandle> find(const char* name) {
  return c10::Dispatcher::singleton().findSchema({name, ""});
}

at::Tensor call(const c10::OperatorHandle& function, std::vector<IValue> stack) {
  function.callBoxed(stack);
  return stack.at(0).toTensor();
}

const std::optional<c10::OperatorHandle>& packer() {
  static const auto found = find("mkldnn::_reorder_linear_weight");
  return found;
}

const std::optional<c10::OperatorHandle>& multiplier() {
  static const auto found = find("mkldnn::_linear_pointwise");
  return found;
}

}  // namespace

bool can_pack(const at::Tensor& matrix) {
  if (matrix.scalar_type() != at::kBFloat16 || matrix.dim() != 2) return false;
  return processor().avx512_bf16 && packer() && multiplier();
}

at::Tensor pack_matrix(const at::Tensor& matrix) {
  return call(*packer(), {matrix.detach(), IValue()});
}

at::Tensor packed_product(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias) {
  const c10::impl::GenericList no_scalars(c10::OptionalType::create(c10::NumberType::get()));
  return call(*multiplier(), {x, packed, bias.defined() ? IValue(bias) : IValue(), IValue("none"),
                              no_scalars, IValue()});
}

}  // namespace blip2
