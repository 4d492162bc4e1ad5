#include "blip2/objectives/itg.h"

#include <fmt/format.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/nn/kernels/kernels.h"
#include "blip2/nn/padded_rows.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/qformer/threads.h"

namespace blip2 {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Sums {
  double loss = 0;
  std::int64_t hits = 0;
};

// Losses of the rows of logits, replaced by the loss's gradient times `scale` unless that is 0.
Sums row_losses(const Tensor& logits, const Tensor& bias, const Tensor& targets, double smoothing,
                double scale) {
  const std::int64_t rows = logits.size(0), vocabulary = logits.size(1);
  std::vector<RowLoss> losses(rows);
  with_kernel_type(logits.scalar_type(), [&]<typename T>() {
    at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        losses[i] = kernels<T>().smoothed_cross_entropy(
            data_of<T>(logits) + i * vocabulary, bias.defined() ? data_of<float>(bias) : nullptr,
            vocabulary, targets.const_data_ptr<std::int64_t>()[i], static_cast<float>(smoothing),
            static_cast<float>(scale));
      }
    });
  });
  Sums sums;
  for (const RowLoss& row : losses) {
    sums.loss += row.loss;
    sums.hits += row.best;
  }
  return sums;
}

// Sums of the columns of [M,V] in f32.
Tensor bias_gradient(const Tensor& logits_gradient) {
  Tensor sums = at::zeros({logits_gradient.size(1)}, at::kFloat);
  with_kernel_type(logits_gradient.scalar_type(), [&]<typename T>() {
    at::parallel_for(0, sums.numel(), 512, [&](std::int64_t begin, std::int64_t end) {
      kernels<T>().column_sums(data_of<T>(logits_gradient), data_of<float>(sums),
                               logits_gradient.size(0), sums.numel(), begin, end);
    });
  });
  return sums;
}

// The gradients are made in the forward pass, chunk by chunk, and scaled in the backward pass.
struct VocabularyFunction : torch::autograd::Function<VocabularyFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& hidden, const MaybeTensor& words,
                        const MaybeTensor& maybe_bias, const Tensor& compute_words,
                        const Tensor& targets, double smoothing, bool train_words, bool train,
                        const Tensor& hits) {
    const Tensor bias = maybe_bias.value_or(Tensor());
    const std::int64_t rows = hidden.size(0);
    Tensor hidden_gradient, words_gradient, bias_sums;
    const Tensor padded = pad_rows(hidden);
    if (train) hidden_gradient = at::empty_like(padded);
    Sums total;
    for (std::int64_t begin = 0; begin < rows; begin += kVocabularyRows) {
      const std::int64_t count = std::min(kVocabularyRows, rows - begin);
      const Tensor part =
          padded.narrow(0, begin, std::min(kVocabularyRows, padded.size(0) - begin));
      const Tensor logits = at::mm(part, compute_words.t());  // [count and padding,V]
      logits.narrow(0, count, logits.size(0) - count).zero_();
      const Sums sums =
          row_losses(logits.narrow(0, 0, count), bias, targets.narrow(0, begin, count), smoothing,
                     train ? 1.0 / static_cast<double>(rows) : 0.0);
      total.loss += sums.loss;
      total.hits += sums.hits;
      if (!train) continue;
      Tensor hidden_part = hidden_gradient.narrow(0, begin, part.size(0));
      at::mm_out(hidden_part, logits, compute_words);
      if (!train_words) continue;
      const Tensor words_part = at::mm(logits.t(), part).to(at::kFloat);
      words_gradient = begin == 0 ? words_part : words_gradient.add_(words_part);
      if (!bias.defined()) continue;
      const Tensor bias_part = bias_gradient(logits);
      bias_sums = begin == 0 ? bias_part : bias_sums.add_(bias_part);
    }
    hits.fill_(total.hits);
    ctx->saved_data["hidden"] = train ? hidden_gradient.narrow(0, 0, rows) : hidden_gradient;
    ctx->saved_data["words"] = words_gradient;
    ctx->saved_data["bias"] = bias_sums;
    return at::scalar_tensor(total.loss / static_cast<double>(rows), at::kFloat);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const double scale = gradients[0].item<double>();
    const auto scaled = [&](const char* name) {
      const Tensor value = ctx->saved_data[name].toTensor();
      return value.defined() && scale != 1 ? value * scale : value;
    };
    return {scaled("hidden"), scaled("words"), scaled("bias"), Tensor(), Tensor(),
            Tensor(),         Tensor(),        Tensor(),       Tensor()};
  }
};

void check_targets(const Tensor& targets, std::int64_t vocabulary) {
  const auto* target = targets.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < targets.numel(); ++i) {
    if (target[i] < 0 || target[i] >= vocabulary) {
      throw Error(fmt::format("expected targets of 0 to {}, got {}", vocabulary - 1, target[i]),
                  "cross-entropy");
    }
  }
}

}  // namespace

GenerationText generation_text(const TextRows& text, std::int64_t decoder_token) {
  const at::Tensor ids = text.ids.contiguous();
  const auto* id = ids.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> inputs, targets;
  GenerationText result;
  for (std::int64_t row = 0; row < text.texts(); ++row) {
    const std::int64_t length = text.lengths[row];
    if (length >= 2) {
      inputs.push_back(decoder_token);
      inputs.insert(inputs.end(), id + 1, id + length - 1);
      targets.insert(targets.end(), id + 1, id + length);
      result.inputs.lengths.push_back(length - 1);
      result.sources.push_back(row);
    }
    id += length;
  }
  result.inputs.ids = at::tensor(inputs, at::kLong);
  result.targets = at::tensor(targets, at::kLong);
  return result;
}

TokenLoss vocabulary_loss(const at::Tensor& hidden, const at::Tensor& words,
                          const at::Tensor& compute_words, const at::Tensor& bias,
                          const at::Tensor& targets, double label_smoothing) {
  if (hidden.dim() != 2 || targets.dim() != 1 || hidden.size(0) != targets.size(0) ||
      hidden.size(1) != compute_words.size(1)) {
    throw Error(
        fmt::format("expected hidden [N, {}] and targets [N], got {} and {}", compute_words.size(1),
                    shape_text(hidden.sizes()), shape_text(targets.sizes())),
        "cross-entropy");
  }
  const at::Tensor counted = (targets != kIgnoredLabel).nonzero().squeeze(1);
  if (counted.numel() == 0) return {hidden.sum().to(at::kFloat) * 0, 0, 0};
  const bool all = counted.numel() == targets.numel();
  const at::Tensor rows = all ? hidden : hidden.index_select(0, counted);
  const at::Tensor wanted = (all ? targets : targets.index_select(0, counted)).contiguous();
  check_targets(wanted, compute_words.size(0));
  const bool train_words = at::GradMode::is_enabled() && words.defined() && words.requires_grad();
  const bool train = at::GradMode::is_enabled() && (train_words || hidden.requires_grad());
  const at::Tensor hits = at::zeros({}, at::kLong);
  const at::Tensor loss =
      VocabularyFunction::apply(rows.contiguous(), maybe(words), maybe(bias), compute_words, wanted,
                                label_smoothing, train_words, train, hits);
  return {loss, wanted.numel(), hits.item<double>() / static_cast<double>(wanted.numel())};
}

}  // namespace blip2
