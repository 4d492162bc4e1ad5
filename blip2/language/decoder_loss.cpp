#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>

#include "blip2/language/decoder.h"
#include "blip2/nn/element_type.h"
#include "blip2/nn/padded_rows.h"

namespace blip2 {
namespace {

constexpr std::int64_t loss_chunk = kLossRows;

template <typename T>
void rows_cross_entropy(const at::Tensor& logits, const std::int64_t* targets, float* losses) {
  const std::int64_t vocabulary = logits.size(1);
  T* const data = static_cast<T*>(logits.mutable_data_ptr());
  at::parallel_for(0, logits.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      losses[i] = kernels<T>().cross_entropy(data + i * vocabulary, vocabulary, targets[i]);
    }
  });
}

// Losses, and each one's gradient with respect to its hidden state.
std::pair<at::Tensor, at::Tensor> losses_and_gradients(const at::Tensor& hidden,
                                                       const at::Tensor& targets,
                                                       const at::Tensor& head, bool gradients) {
  const at::Tensor narrow = pad_rows(hidden.to(head.scalar_type()));
  const std::int64_t rows = hidden.size(0), padded = narrow.size(0);
  at::Tensor losses = at::empty({rows}, at::kFloat);
  at::Tensor dhidden = at::empty({gradients ? rows : 0, hidden.size(1)}, at::kFloat);
  at::Tensor memory = at::empty({std::min(padded, loss_chunk), head.size(0)}, head.options());
  for (std::int64_t begin = 0; begin < rows; begin += loss_chunk) {
    const std::int64_t count = std::min(loss_chunk, rows - begin);
    at::Tensor products = memory.narrow(0, 0, std::min(loss_chunk, padded - begin));
    at::mm_out(products, narrow.narrow(0, begin, products.size(0)), head.t());  // [m, V]
    at::Tensor logits = products.narrow(0, 0, count);
    const std::int64_t* chosen = targets.const_data_ptr<std::int64_t>() + begin;
    float* out = losses.mutable_data_ptr<float>() + begin;
    with_element(head.scalar_type(),
                 [&]<typename T>() { rows_cross_entropy<T>(logits, chosen, out); });
    if (gradients) {
      products.narrow(0, count, products.size(0) - count).zero_();
      dhidden.narrow(0, begin, count).copy_(at::mm(products, head).narrow(0, 0, count));  // [m, D]
    }
  }
  return {losses, dhidden};
}

struct LossFunction : torch::autograd::Function<LossFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& hidden,
                            const at::Tensor& targets, const at::Tensor& head) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto [losses, dhidden] = losses_and_gradients(hidden, targets, head, true);
    context->save_for_backward({dhidden});
    return losses;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const at::Tensor dhidden = context->get_saved_variables()[0];
    return {dhidden * gradients[0].unsqueeze(1), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor Decoder::logits(const at::Tensor& hidden) const {
  return weights_->head(hidden.to(dtype())).to(at::kFloat);
}

at::Tensor Decoder::token_loss(const at::Tensor& hidden, const at::Tensor& targets) const {
  TORCH_CHECK(hidden.dim() == 2 && targets.sizes() == at::IntArrayRef({hidden.size(0)}),
              "expected hidden [M, D] and targets [M], got ", hidden.sizes(), " and ",
              targets.sizes());
  const at::Tensor ids = targets.to(at::kLong).contiguous();
  if (ids.numel() > 0) {
    TORCH_CHECK(
        ids.min().item<std::int64_t>() >= 0 && ids.max().item<std::int64_t>() < config().vocab_size,
        "a target lies outside the vocabulary");
  }
  const at::Tensor states = hidden.to(at::kFloat).contiguous();
  const at::Tensor head = weights_->head.matrix(dtype());
  if (at::GradMode::is_enabled() && states.requires_grad()) {
    return LossFunction::apply(states, ids, head);
  }
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return losses_and_gradients(states, ids, head, false).first;
}

}  // namespace blip2
