#pragma once

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/io/tensor_file.h"
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

// Parameters and buffers of a module as views named `prefix` + member name, in declaration order.
// They live as long as the module's tensors.
std::vector<TensorView> views_of(const torch::nn::Module& module, const std::string& prefix = {});

// What a strict load may pass over; names are the file's, `*` matches any run of characters.
struct LoadOptions {
  std::string prefix;                                     // only the file's tensors under it
  std::vector<std::string> optional;                      // may be missing from the file
  std::vector<std::string> ignored;                       // may be in the file without a member
  std::function<std::string(const std::string&)> rename;  // member name -> file name, after prefix
  std::string part = "weights";                           // what a progress bar calls the module
};

// Copies the file's tensors into the module's parameters and buffers of the same name, converting
// types. Throws one Error that lists every missing, unexpected and mis-shaped tensor (expected and
// got shapes), having changed nothing.
void load_parameters(torch::nn::Module& module, const TensorFile& file,
                     const LoadOptions& options = {});

// Gives the module's parameters and buffers the file's tensors of the same name, with
// load_parameters' checks, without reading their present values: they may be without memory
// (without_memory). Floating-point ones become `type`; those that the file has
// in that type stay in the mapped file, which then lives as long as they do and must not be written
// to, unless `own` asks for memory of their own. One tensor at a time is held twice.
void adopt_parameters(torch::nn::Module& module, std::shared_ptr<const TensorFile> file,
                      at::ScalarType type, bool own = false, const LoadOptions& options = {});

// Zeros of that shape in the memory of one element: what a parameter is before adopt_parameters, or
// before something sets its data.
at::Tensor without_memory(at::IntArrayRef shape);

// Whether a tensor is a buffer that earlier versions of transformers saved with a model and that
// holds nothing learnt: "…position_ids", "…rotary_emb.inv_freq".
bool is_old_buffer(std::string_view name);

// "[30522, 384]"
std::string shape_text(at::IntArrayRef shape);

}  // namespace blip2
