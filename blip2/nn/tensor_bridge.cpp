#include "blip2/nn/tensor_bridge.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>
#include <set>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/nn/load_progress.h"

namespace blip2 {
namespace {

constexpr std::pair<DType, at::ScalarType> stored_types[] = {
    {DType::f32, at::kFloat},    {DType::f16, at::kHalf}, {DType::bf16, at::kBFloat16},
    {DType::f64, at::kDouble},   {DType::i64, at::kLong}, {DType::i32, at::kInt},
    {DType::i16, at::kShort},    {DType::i8, at::kChar},  {DType::u8, at::kByte},
    {DType::boolean, at::kBool},
};

bool matches(const std::string& name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  });
}

std::vector<std::pair<std::string, at::Tensor>> members_of(const torch::nn::Module& module) {
  std::vector<std::pair<std::string, at::Tensor>> members;
  for (const auto& item : module.named_parameters()) members.emplace_back(item.key(), item.value());
  for (const auto& item : module.named_buffers()) members.emplace_back(item.key(), item.value());
  return members;
}

// Floating-point numbers, plain or quantised.
bool holds_numbers(DType dtype) {
  if (is_listed_only(dtype)) return false;
  const auto type = scalar_type_of(dtype);
  return !type || c10::isFloatingType(*type);
}

struct Plan {
  std::vector<std::pair<const TensorView*, at::Tensor>> copies;
  std::vector<std::string> faults;
};

Plan plan_load(const torch::nn::Module& module, const TensorFile& file,
               const LoadOptions& options) {
  Plan plan;
  std::set<std::string> wanted;
  for (const auto& [member, tensor] : members_of(module)) {
    const std::string name = options.prefix + (options.rename ? options.rename(member) : member);
    wanted.insert(name);
    const TensorView* view = file.find(name);
    if (view && tensor.is_floating_point() && !holds_numbers(view->dtype)) {
      plan.faults.push_back(
          fmt::format("{}: expected a floating-point type, got {}", name, dtype_name(view->dtype)));
    } else if (view && tensor.sizes() == view->shape) {
      plan.copies.emplace_back(view, tensor);
    } else if (view) {
      plan.faults.push_back(fmt::format("{}: expected shape {}, got {}", name,
                                        shape_text(tensor.sizes()), shape_text(view->shape)));
    } else if (!matches(name, options.optional)) {
      plan.faults.push_back(
          fmt::format("{}: missing, expected shape {}", name, shape_text(tensor.sizes())));
    }
  }
  for (const TensorView& view : file.tensors()) {
    if (!view.name.starts_with(options.prefix) || wanted.contains(view.name)) continue;
    if (matches(view.name, options.ignored)) continue;
    plan.faults.push_back(fmt::format("{}: not a tensor of this model, got shape {}", view.name,
                                      shape_text(view.shape)));
  }
  return plan;
}

[[noreturn]] void refuse(const TensorFile& file, const std::vector<std::string>& faults) {
  constexpr std::size_t shown = 8;
  std::vector<std::string> listed(faults.begin(), faults.begin() + std::min(shown, faults.size()));
  std::string message = fmt::format("{} tensor{} do not fit the model: {}", faults.size(),
                                    faults.size() == 1 ? "" : "s", fmt::join(listed, "; "));
  if (faults.size() > shown) message += fmt::format("; and {} more", faults.size() - shown);
  throw Error(message, file.path().string(),
              "check that the configuration and the weights belong together");
}

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

std::vector<TensorView> views_of(const torch::nn::Module& module, const std::string& prefix) {
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : members_of(module)) {
    views.push_back(view_of(prefix + name, tensor));
  }
  return views;
}

void load_parameters(torch::nn::Module& module, const TensorFile& file,
                     const LoadOptions& options) {
  const Plan plan = plan_load(module, file, options);
  if (!plan.faults.empty()) refuse(file, plan.faults);
  const torch::NoGradGuard no_grad;
  for (const auto& [view, tensor] : plan.copies) {
    at::Tensor target = tensor;
    target.copy_(scalar_type_of(view->dtype) ? borrow(*view, nullptr) : to_tensor(*view));
  }
}

void adopt_parameters(torch::nn::Module& module, std::shared_ptr<const TensorFile> file,
                      at::ScalarType type, bool own, const LoadOptions& options) {
  const Plan plan = plan_load(module, *file, options);
  if (!plan.faults.empty()) refuse(*file, plan.faults);
  const c10::InferenceMode no_inference(false);
  const torch::NoGradGuard no_grad;
  const auto wanted = [&](const at::Tensor& tensor) {
    return tensor.is_floating_point() ? type : tensor.scalar_type();
  };
  const auto mapped = [&](const TensorView& view, const at::Tensor& tensor) {
    return !own && scalar_type_of(view.dtype) == wanted(tensor);
  };
  std::uint64_t bytes = 0;
  for (const auto& [view, tensor] : plan.copies) {
    if (!mapped(*view, tensor)) bytes += view->data.size();
  }
  LoadProgress progress(options.part, bytes);
  for (const auto& [view, tensor] : plan.copies) {
    at::Tensor target = tensor;
    if (mapped(*view, tensor)) {
      target.set_data(borrow(*view, file));
    } else {
      target.set_data(to_tensor(*view, wanted(tensor)));
      file->release(*view);
      progress.add(view->data.size());
    }
  }
  progress.finish();
}

at::Tensor without_memory(at::IntArrayRef shape) {
  const c10::InferenceMode no_inference(false);
  const at::AutoDispatchBelowADInplaceOrView no_view;  // a parameter is not a view
  return at::zeros({1}).expand(shape);
}

bool is_old_buffer(std::string_view name) {
  return name.ends_with("position_ids") || name.ends_with("rotary_emb.inv_freq");
}

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

}  // namespace blip2
