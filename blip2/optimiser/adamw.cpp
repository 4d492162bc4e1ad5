#include "blip2/optimiser/adamw.h"

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "blip2/nn/adopt.h"

namespace blip2 {
namespace {

constexpr char kAverage[] = "exp_avg.", kSquare[] = "exp_avg_sq.", kStep[] = "step.";

std::vector<at::Tensor> gradients_of(const std::vector<NamedTensor>& parameters) {
  std::vector<at::Tensor> gradients;
  for (const auto& [name, parameter] : parameters) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  return gradients;
}

double norm_of(const std::vector<at::Tensor>& gradients) {
  if (gradients.empty()) return 0;
  return at::stack(at::_foreach_norm(gradients)).to(at::kDouble).norm().item<double>();
}

}  // namespace

AdamW::AdamW(std::vector<NamedTensor> parameters, const OptimizerRecipe& recipe,
             const std::vector<double>& lr_scales)
    : parameters_(std::move(parameters)), recipe_(recipe) {
  TORCH_CHECK(lr_scales.empty() || lr_scales.size() == parameters_.size(),
              "AdamW: a scale for each parameter");
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& value = parameters_[i].value;
    TORCH_CHECK(value.scalar_type() == at::kFloat, "AdamW keeps f32 master weights");
    group(value.dim() >= 2 ? recipe.weight_decay : 0, lr_scales.empty() ? 1 : lr_scales[i])
        .members.push_back(i);
    exp_avg_.push_back(at::zeros_like(value));
    exp_avg_sq_.push_back(at::zeros_like(value));
    steps_.push_back(at::zeros({}, value.options()));
  }
}

AdamW::Group& AdamW::group(double weight_decay, double lr_scale) {
  for (Group& group : groups_) {
    if (group.weight_decay == weight_decay && group.lr_scale == lr_scale) return group;
  }
  return groups_.emplace_back(Group{weight_decay, lr_scale, {}});
}

void AdamW::update(const Group& group, double lr, const at::Tensor& gradient_scale) {
  std::vector<at::Tensor> parameters, gradients, averages, squares, steps;
  for (std::size_t i : group.members) {
    const at::Tensor& parameter = parameters_[i].value;
    if (!parameter.grad().defined()) continue;
    parameters.push_back(parameter);
    gradients.push_back(parameter.grad().contiguous());
    averages.push_back(exp_avg_[i]);
    squares.push_back(exp_avg_sq_[i]);
    steps.push_back(steps_[i].add_(1));
  }
  if (parameters.empty()) return;
  at::_fused_adamw_(parameters, gradients, averages, squares, {}, steps, lr, recipe_.beta1,
                    recipe_.beta2, group.weight_decay, recipe_.eps, /*amsgrad=*/false,
                    /*maximize=*/false, gradient_scale);
}

double AdamW::step(double lr, const std::function<double(double)>& total) {
  const at::NoGradGuard no_grad;
  double norm = norm_of(gradients_of(parameters_));
  if (total) norm = std::sqrt(total(norm * norm));
  if (std::isfinite(norm)) {
    // The update divides gradients by this scale, so that clipping needs no further pass.
    const bool clips = recipe_.clip > 0 && norm > recipe_.clip;
    const at::Tensor scale = at::full({}, clips ? norm / recipe_.clip : 1.0, at::kFloat);
    for (const Group& group : groups_) update(group, lr * group.lr_scale, scale);
  }
  for (auto& [name, parameter] : parameters_) parameter.mutable_grad().reset();
  return norm;
}

std::vector<NamedTensor> AdamW::state() const {
  std::vector<NamedTensor> state;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    state.push_back({kAverage + name, exp_avg_[i]});
    state.push_back({kSquare + name, exp_avg_sq_[i]});
    state.push_back({kStep + name, steps_[i]});
  }
  return state;
}

void restore_tensors(const std::shared_ptr<const TensorFile>& file,
                     const std::vector<NamedTensor>& tensors) {
  std::vector<TensorSlot> slots;
  for (const auto& [name, tensor] : tensors) slots.push_back({name, tensor, tensor.sizes().vec()});
  adopt(file, slots, {.part = "model that is trained", .own = true, .ignored = {"*"}});
}

}  // namespace blip2
