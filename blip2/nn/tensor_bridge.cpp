#include "blip2/nn/tensor_bridge.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

constexpr std::pair<DType, at::ScalarType> stored_types[] = {
    {DType::f32, at::kFloat},    {DType::f16, at::kHalf}, {DType::bf16, at::kBFloat16},
    {DType::f64, at::kDouble},   {DType::i64, at::kLong}, {DType::i32, at::kInt},
    {DType::i16, at::kShort},    {DType::i8, at::kChar},  {DType::u8, at::kByte},
    {DType::boolean, at::kBool},
};

}  // namespace

std::optional<at::ScalarType> scalar_type_of(DType dtype) {
  for (const auto& [from, to] : stored_types) {
    if (from == dtype) return to;
  }
  return std::nullopt;
}

at::Tensor to_tensor(const TensorView& view, at::ScalarType type) {
  if (scalar_type_of(view.dtype)) return borrow(view, nullptr).to(type, false, /*copy=*/true);
  at::Tensor values = at::empty(view.shape, at::kFloat);
  to_float32(view, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())});
  return values.to(type);
}

at::Tensor borrow(const TensorView& view, std::shared_ptr<const void> keepalive) {
  const auto type = scalar_type_of(view.dtype);
  if (!type) {
    throw Error(fmt::format("expected a plain type, got {}", dtype_name(view.dtype)), view.name,
                "a quantised tensor has to be converted");
  }
  if (view.data.empty()) return at::empty(view.shape, *type);
  void* data = const_cast<std::byte*>(view.data.data());
  if (reinterpret_cast<std::uintptr_t>(data) % at::elementSize(*type) != 0) {
    at::Tensor copy = at::empty(view.shape, *type);
    std::copy(view.data.begin(), view.data.end(), static_cast<std::byte*>(copy.data_ptr()));
    return copy;
  }
  return at::from_blob(
      data, view.shape, [keepalive = std::move(keepalive)](void*) {}, *type);
}

TensorView view_of(std::string name, const at::Tensor& tensor) {
  TORCH_CHECK(tensor.is_contiguous() && tensor.is_cpu(), name, ": not contiguous on the CPU");
  for (const auto& [dtype, type] : stored_types) {
    if (type != tensor.scalar_type()) continue;
    return {std::move(name),
            dtype,
            tensor.sizes().vec(),
            {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
  }
  TORCH_CHECK(false, name, ": no file type for ", tensor.scalar_type());
}

std::vector<std::pair<std::string, at::Tensor>> members_of(const torch::nn::Module& module) {
  std::vector<std::pair<std::string, at::Tensor>> members;
  for (const auto& item : module.named_parameters()) members.emplace_back(item.key(), item.value());
  for (const auto& item : module.named_buffers()) members.emplace_back(item.key(), item.value());
  return members;
}

std::vector<TensorView> views_of(const torch::nn::Module& module, const std::string& prefix) {
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : members_of(module)) {
    views.push_back(view_of(prefix + name, tensor));
  }
  return views;
}

at::Tensor without_memory(at::IntArrayRef shape) {
  const c10::InferenceMode no_inference(false);
  const at::AutoDispatchBelowADInplaceOrView no_view;  // a parameter is not a view
  return at::zeros({1}).expand(shape);
}

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

}  // namespace blip2
