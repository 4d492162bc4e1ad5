#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/language/decoder_config.h"
#include "blip2/nn/linear.h"

namespace blip2 {

// Sequences ("rows") that a frozen language model continues, without autograd. Every row is
// computed by itself in one fixed order: its logits are bit for bit the same whatever other rows
// run beside it. For one thread at a time.
class LanguageSession {
 public:
  virtual ~LanguageSession() = default;

  virtual std::int64_t rows() const = 0;
  virtual std::int64_t vocabulary() const = 0;
  virtual std::int64_t length(std::int64_t row) const = 0;  // tokens of the row so far

  // Continues every row by embeddings: row i by embeds[offsets[i] .. offsets[i + 1]) of embeds [N,
  // D], at least one embedding each. The first call makes the rows. Returns the logits after each
  // row's last token, [rows, V] f32, valid until the next call. Error if a row becomes longer than
  // the model's positions reach.
  virtual std::span<const float> prompt(const at::Tensor& embeds,
                                        std::span<const std::int64_t> offsets) = 0;

  // Continues every row by one token id. Returns logits as prompt does.
  virtual std::span<const float> advance(std::span<const std::int32_t> tokens) = 0;

  // Row i becomes a continuation of the present row sources[i]; rows may be repeated or dropped.
  virtual void select(std::span<const std::int32_t> sources) = 0;

  // Appends the rows of another session of the same model, which has none afterwards. The logits
  // that either session returned stay valid.
  virtual void join(LanguageSession& other) = 0;
};

// A frozen language model. It has no trainable parameters: gradients reach the input embeddings
// only. Sessions may run on threads of their own; forward_packed() is for one thread at a time.
// Products are computed in dtype(); the residual stream, norms, softmax and losses are f32.
// Positions count from 0 in every sequence.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  virtual std::int64_t width() const = 0;       // D, the hidden size
  virtual std::int64_t vocabulary() const = 0;  // V
  virtual at::ScalarType dtype() const = 0;
  virtual std::int32_t bos_token_id() const = 0;
  virtual std::int32_t pad_token_id() const = 0;  // -1: the model has none
  virtual const std::vector<std::int32_t>& eos_token_ids() const = 0;

  // The embeddings of token ids (int64, any shape): [...] -> [..., D] f32.
  virtual at::Tensor embed(const at::Tensor& ids) const = 0;

  // Packed sequences without padding: sequence i is rows [offsets[i], offsets[i + 1]). embeds [N,
  // D] f32 -> hidden states after the final norm, [N, D] f32. Faster than forward(). `wanted`: the
  // rows that the result has, in ascending order, or none for all; others cost less.
  virtual at::Tensor forward_packed(const at::Tensor& embeds, std::vector<std::int64_t> offsets,
                                    std::vector<std::int64_t> wanted = {}) = 0;

  // The hidden states after the final norm of packed sequences, [N, D] f32, for reading alone:
  // without autograd, and each sequence's bit for bit the same whatever other sequences stand
  // beside it. Every sequence has at least one embedding. Several threads may call it at once.
  virtual at::Tensor read(const at::Tensor& embeds,
                          std::span<const std::int64_t> offsets) const = 0;

  // Right-padded rows of the given lengths: [B, T, D] -> [B, T, D], zero at the padding.
  at::Tensor forward(const at::Tensor& embeds, std::span<const std::int64_t> lengths);

  // Next-token logits of hidden states: [..., D] f32 -> [..., V] f32. Differentiable. Pass only the
  // positions that are needed, as each costs V * D products.
  virtual at::Tensor logits(const at::Tensor& hidden) const = 0;

  // Cross-entropy at each position: hidden [M, D], targets [M] int64 in [0, V) -> [M] f32, nats.
  // Equal to cross_entropy(logits(hidden), targets, "none"), but never holds all logits.
  virtual at::Tensor token_loss(const at::Tensor& hidden, const at::Tensor& targets) const = 0;

  // `capacity`: number of tokens a row (prompt and continuation) for which room is made at first.
  virtual std::unique_ptr<LanguageSession> make_session(std::int64_t capacity = 64) const = 0;

  // Bytes of the weights that one step of writing reads: the layers' matrices and the head.
  virtual std::int64_t step_bytes() const = 0;

  // The weights under Hugging Face's names, in its shapes, bit for bit as they were loaded.
  virtual std::vector<std::pair<std::string, at::Tensor>> tensors() const = 0;
};

// Loads a model from a model directory's weights (Hugging Face's names under `prefix`, as
// "language_model.") or from a GGUF file. `dtype` is f32, bf16 or f16: weights of that type stay in
// the mapped file, others are converted one by one. Error listing every tensor that does not fit
// `config`. A model does everything with each MatrixForm: generating texts takes least memory with
// stored matrices; passes over many rows, as in training, are fastest with joined matrices; int8
// takes half the memory of bf16. tensors() is not available with int8.
std::shared_ptr<LanguageModel> load_language_model(std::shared_ptr<const TensorFile> file,
                                                   const DecoderConfig& config,
                                                   at::ScalarType dtype,
                                                   const std::string& prefix = {},
                                                   MatrixForm form = MatrixForm::stored);

// The configuration and weights of a Hugging Face directory or of a GGUF file. A directory's
// generation_config.json overrides the end tokens if it names some.
struct LanguageFiles {
  DecoderConfig config;
  std::shared_ptr<const TensorFile> weights;
};
LanguageFiles open_language_files(const std::filesystem::path& path);

}  // namespace blip2
