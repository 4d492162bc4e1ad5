#include "blip2/vision/vit_step.h"

#include <ATen/autocast_mode.h>

#include <optional>
#include <utility>

#include "blip2/base/random.h"

namespace blip2 {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct KeptBlock : torch::CustomClassHolder {
  KeptBlock(const VitBlock& block_, const PatchRotation& rotation_)
      : block(block_), rotation(rotation_) {}
  at::Tensor operator()(const at::Tensor& x, const std::optional<Tensor>& scales) const {
    return block(x, scales.value_or(Tensor()), rotation);
  }
  VitBlock block;  // handles of the encoder's parameters
  PatchRotation rotation;
};

// A block whose activations are not kept (Chen et al. 2016). Its parameters are inputs, so that
// their gradients arrive as from any other operation.
struct CheckpointedBlock : torch::autograd::Function<CheckpointedBlock> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, at::TensorList /*parameters*/,
                        const std::optional<Tensor>& scales,
                        const c10::intrusive_ptr<KeptBlock>& kept, std::int64_t type) {
    ctx->save_for_backward({x});
    ctx->saved_data["scales"] = scales;
    ctx->saved_data["block"] = c10::IValue::make_capsule(kept);
    ctx->saved_data["type"] = type;
    return (*kept)(x, scales);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto kept = ctx->saved_data["block"].toCapsule();
    const auto& run = static_cast<const KeptBlock&>(*kept);
    const at::AutoGradMode with_gradients(true);
    const Autocast autocast(static_cast<at::ScalarType>(ctx->saved_data["type"].toInt()));
    const Tensor x = ctx->get_saved_variables()[0].detach().requires_grad_(true);
    const auto scales = ctx->saved_data["scales"].toOptional<Tensor>();
    const Tensor y = run(x, scales);
    variable_list inputs{x};
    for (const Tensor& parameter : run.block.parameters()) inputs.push_back(parameter);
    variable_list result = torch::autograd::grad({y}, inputs, gradients);
    result.resize(inputs.size() + 3);  // scales, block and type have none
    return result;
  }
};

}  // namespace

double drop_share(double drop_path, std::int64_t block, std::int64_t count) {
  return count < 2 ? 0 : drop_path * static_cast<double>(block) / static_cast<double>(count - 1);
}

at::Tensor branch_scales(std::span<const std::uint64_t> seeds, std::int64_t block, double share) {
  at::Tensor scales = at::empty({2, std::ssize(seeds), 1, 1});
  float* out = scales.mutable_data_ptr<float>();
  for (const std::uint64_t branch : {0, 1}) {
    for (const std::uint64_t seed : seeds) {
      const bool passes_by = Random(derive_seed(seed, block, branch)).uniform() < share;
      *out++ = passes_by ? 0 : static_cast<float>(1 / (1 - share));
    }
  }
  return scales;
}

namespace {

at::Tensor run_frozen(const std::vector<VitBlock>& blocks, const at::Tensor& x,
                      const PatchRotation& rotation) {
  at::Tensor all = at::empty(x.sizes(), at::kFloat);  // [B, P, D]
  all.copy_(x);
  for (std::int64_t picture = 0; picture < x.size(0); ++picture) {
    at::Tensor rows = all[picture];  // [P, D]
    for (const VitBlock& block : blocks) block.advance(rows, x.scalar_type(), rotation);
  }
  return all;
}

}  // namespace

at::Tensor last_norm(const Norm& norm, const at::Tensor& x, const VitStep& step) {
  if (!step.frozen) return norm(x).to(x.scalar_type());
  return norm.each_row(x.flatten(0, 1), at::kFloat).view(x.sizes());
}

at::Tensor run_blocks(const std::vector<VitBlock>& blocks, at::Tensor x, const VitStep& step) {
  if (step.frozen) return run_frozen(blocks, x, step.rotation);
  const bool recompute = step.checkpointing && at::GradMode::is_enabled();
  for (std::int64_t i = 0; i < std::ssize(blocks); ++i) {
    const VitBlock& block = blocks[static_cast<std::size_t>(i)];
    const double share = step.seeds.empty() ? 0 : drop_share(step.drop_path, i, std::ssize(blocks));
    std::optional<Tensor> scales;
    if (share > 0) scales = branch_scales(step.seeds, i, share);
    if (recompute) {
      const auto parameters = block.parameters();
      x = CheckpointedBlock::apply(x, at::TensorList(parameters), scales,
                                   c10::make_intrusive<KeptBlock>(block, step.rotation),
                                   static_cast<std::int64_t>(step.type));  // [B, P, D]
    } else {
      x = block(x, scales.value_or(Tensor()), step.rotation);  // [B, P, D]
    }
  }
  return x;
}

Autocast::Autocast(at::ScalarType type)
    : enabled_(at::autocast::is_autocast_enabled(at::kCPU)),
      cached_(at::autocast::is_autocast_cache_enabled()),
      type_(at::autocast::get_autocast_dtype(at::kCPU)) {
  at::autocast::set_autocast_enabled(at::kCPU, type == at::kBFloat16);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_cache_enabled(false);  // no weight is used twice in a pass
}

Autocast::~Autocast() {
  at::autocast::set_autocast_enabled(at::kCPU, enabled_);
  at::autocast::set_autocast_dtype(at::kCPU, type_);
  at::autocast::set_autocast_cache_enabled(cached_);
}

}  // namespace blip2
