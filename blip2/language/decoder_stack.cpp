#include "blip2/language/decoder_stack_internal.h"

#include <algorithm>
#include <utility>

#include "blip2/language/decoder_pass_internal.h"
#include "blip2/language/lora.h"
#include "blip2/nn/padded_rows.h"

namespace blip2 {
namespace {

// What the autograd node holds between the two directions.
struct StackNode : torch::CustomClassHolder {
  std::shared_ptr<DecoderStack> stack;
  PackedRange range;
  std::shared_ptr<DecoderActivations> memory;
};

struct StackFunction : torch::autograd::Function<StackFunction> {
  // `trained`: DecoderStack::trained(), for autograd alone: the layers have the parameters.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& embeds,
                            const std::optional<at::Tensor>& /*trained*/,
                            std::shared_ptr<DecoderStack> stack, PackedRange range) {
    auto node = c10::make_intrusive<StackNode>();
    node->memory = stack->borrow_memory(embeds.size(0), true);
    const at::Tensor hidden = stack->forward(embeds, range, *node->memory, true);
    node->stack = std::move(stack);
    node->range = std::move(range);
    context->saved_data["node"] = c10::IValue::make_capsule(std::move(node));
    return hidden;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto capsule = context->saved_data["node"].toCapsule();
    auto& node = static_cast<StackNode&>(*capsule);
    TORCH_CHECK(node.memory, "the language model's graph was used for backward already");
    at::Tensor result = node.stack->backward(gradients[0].contiguous(), node.range, *node.memory);
    const LowRankTape tape = std::exchange(node.memory->low_rank, {});
    node.memory.reset();
    return {result, tape.gradients, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

DecoderStack::DecoderStack(std::shared_ptr<const DecoderWeights> weights)
    : weights_(std::move(weights)), rope_(weights_->config) {}

bool DecoderStack::trains() const {
  return weights_->lora && weights_->lora->trained();
}

std::optional<at::Tensor> DecoderStack::trained() const {
  return trains() ? std::optional(weights_->lora->flat()) : std::nullopt;
}

std::shared_ptr<DecoderActivations> DecoderStack::borrow_memory(std::int64_t rows, bool keep) {
  const DecoderConfig& c = weights_->config;
  const std::int64_t layers = keep ? c.num_hidden_layers : 1;
  rows = padded_rows(rows);
  for (const auto& memory : pool_) {
    if (memory.use_count() == 1 && memory->rows >= rows && memory->layers >= layers) return memory;
  }
  std::erase_if(pool_, [](const auto& memory) { return memory.use_count() == 1; });
  rows = padded_rows(rows + rows / 8);  // the next batch may be a little larger
  const auto make = [&](std::initializer_list<std::int64_t> shape, at::ScalarType type) {
    return at::empty(shape, at::TensorOptions(type));
  };
  const std::int64_t widest = std::max(c.hidden_size, c.query_width());
  auto memory = std::make_shared<DecoderActivations>();
  memory->rows = rows;
  memory->layers = layers;
  memory->inputs = make({layers + 1, rows, c.hidden_size}, at::kFloat);
  memory->middles = make({layers, rows, c.hidden_size}, at::kFloat);
  memory->qkv = make({layers, rows, c.qkv_width()}, weights_->dtype);
  const std::int64_t plain = c.norms_queries() && keep ? c.query_width() + c.key_width() : 0;
  memory->plain = make({layers, rows, plain}, weights_->dtype);
  memory->products =
      make({layers, 2, rows, c.norm_after && keep ? c.hidden_size : 0}, weights_->dtype);
  memory->gate_up = make({layers, rows, c.up_width()}, weights_->dtype);
  memory->narrow = make({rows, widest}, weights_->dtype);
  memory->wide = make({rows, c.intermediate_size}, weights_->dtype);
  memory->delta = make({rows, widest}, weights_->dtype);
  memory->dqkv = make({keep ? rows : 0, c.qkv_width()}, weights_->dtype);
  memory->dgate_up = make({keep ? rows : 0, c.up_width()}, weights_->dtype);
  pool_.push_back(memory);
  return memory;
}

at::Tensor DecoderStack::forward(const at::Tensor& embeds, const PackedRange& range,
                                 DecoderActivations& memory, bool keep) {
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const std::vector<std::int64_t>& offsets = range.offsets;
  for (std::size_t i = 1; i < offsets.size(); ++i) {
    TORCH_CHECK(offsets[i] >= offsets[i - 1], "offsets must not fall");
    require_length(weights_->config, offsets[i] - offsets[i - 1]);
    rope_.reserve(offsets[i] - offsets[i - 1]);
  }
  memory.low_rank = {};
  return with_element(weights_->dtype, [&]<typename T>() {
    return DecoderPass<T>(*weights_, rope_, range, memory, keep).forward(embeds);
  });
}

at::Tensor DecoderStack::backward(const at::Tensor& gradient, const PackedRange& range,
                                  DecoderActivations& memory) {
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  if (trains()) memory.low_rank.gradients = at::zeros({weights_->lora->parameters()}, at::kFloat);
  return with_element(weights_->dtype, [&]<typename T>() {
    return DecoderPass<T>(*weights_, rope_, range, memory, true).backward(gradient);
  });
}

at::Tensor run_stack(std::shared_ptr<DecoderStack> stack, const at::Tensor& embeds,
                     PackedRange range) {
  if (at::GradMode::is_enabled() && (embeds.requires_grad() || stack->trains())) {
    const auto trained = stack->trained();
    return StackFunction::apply(embeds, trained, std::move(stack), std::move(range));
  }
  const auto memory = stack->borrow_memory(embeds.size(0), false);
  return stack->forward(embeds, range, *memory, false);
}

}  // namespace blip2
