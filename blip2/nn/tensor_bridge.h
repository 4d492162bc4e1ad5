#pragma once

#include <torch/torch.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "blip2/io/tensor_view.h"

namespace blip2 {

// The ScalarType that stores `dtype` as it is, or nullopt for quantised types.
std::optional<at::ScalarType> scalar_type_of(DType dtype);

// An owning copy of a file's tensor, converted to `type`; quantised types are dequantised.
at::Tensor to_tensor(const TensorView& view, at::ScalarType type = at::kFloat);

// A tensor over the file's own bytes: nothing is copied, and `keepalive` (the file) lives as long
// as the tensor. Read-only memory: writing to it ends the process. Error for quantised types; a
// tensor whose bytes are not aligned to its element is copied.
at::Tensor borrow(const TensorView& view, std::shared_ptr<const void> keepalive);

// A view for writing. The tensor must be contiguous and on the CPU, and outlive the view.
TensorView view_of(std::string name, const at::Tensor& tensor);

// Parameters and buffers of a module with their names in it, in declaration order.
std::vector<std::pair<std::string, at::Tensor>> members_of(const torch::nn::Module& module);

// Parameters and buffers of a module as views named `prefix` + member name, in declaration order.
// They live as long as the module's tensors.
std::vector<TensorView> views_of(const torch::nn::Module& module, const std::string& prefix = {});

// Zeros of that shape in the memory of one element: what a parameter is before adopt() (adopt.h),
// or before something else sets its data.
at::Tensor without_memory(at::IntArrayRef shape);

// "[30522, 384]"
std::string shape_text(at::IntArrayRef shape);

}  // namespace blip2
