#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/language/t5_config.h"
#include "blip2/language/t5_weights.h"

namespace blip2 {

// A frozen T5 (v1.1, FlanT5, or the original). It has no trainable parameters: gradients reach the
// encoder's input embeddings only. Products are computed in dtype(), f32 or bf16; the residual
// stream, norms, softmax and losses are f32. Sequences are packed rows without padding: sequence i
// is rows [offsets[i], offsets[i + 1]). Const functions may run on several threads at once.
class T5 {
 public:
  explicit T5(std::shared_ptr<T5Weights> weights) : weights_(std::move(weights)) {}

  const T5Config& config() const { return weights_->config; }
  at::ScalarType dtype() const { return weights_->dtype; }
  std::shared_ptr<T5Weights> weights() const { return weights_; }

  // The embeddings of token ids (int64, any shape): [...] -> [..., D] f32.
  at::Tensor embed(const at::Tensor& ids) const;

  // The encoder's states after its final norm: embeds [N, D] f32 -> [N, D] f32. Differentiable.
  at::Tensor encode(const at::Tensor& embeds, std::span<const std::int64_t> offsets) const;

  // Logits for each decoder input, with teacher forcing: the encoder's states [N, D] f32 with
  // `offsets`, inputs [M] int64 with `input_offsets` (as many sequences) -> [M, V] f32.
  // Differentiable with respect to the states.
  at::Tensor decode(const at::Tensor& states, std::span<const std::int64_t> offsets,
                    const at::Tensor& inputs, std::span<const std::int64_t> input_offsets) const;

  // Bytes of the weights that one step of writing reads: the matrices of the decoder's layers, but
  // for those of the encoder's keys and values, and the head.
  std::int64_t step_bytes() const;

  // Logits of the decoder's states after its final norm: [N, D] f32 -> [N, V] f32.
  at::Tensor logits(const at::Tensor& hidden) const;

 private:
  std::shared_ptr<T5Weights> weights_;
};

// Loads a T5 from a model directory's weights: Hugging Face's names under `prefix`
// ("language_model."). `form`: int8 matrices take half the memory of bf16.
std::shared_ptr<T5> load_t5(std::shared_ptr<const TensorFile> file, const T5Config& config,
                            at::ScalarType dtype, const std::string& prefix = {},
                            MatrixForm form = MatrixForm::stored);

}  // namespace blip2
