#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/language/decoder_config.h"
#include "blip2/language/embeddings_name.h"
#include "blip2/nn/int8_matrix.h"

namespace blip2 {

// A LayerNorm's or RMSNorm's weights as the checkpoint has them and in f32 for the kernels; an
// RMSNorm has no bias.
struct DecoderNorm {
  at::Tensor weight, bias, weight_f32, bias_f32;
};

// A matrix as [out, in], or in its place an int8 one, with its bias if the model has one, as stored
// and in f32.
struct DecoderLinear {
  at::Tensor weight, bias, bias_f32;
  Int8Matrix int8 = {};
};

// One layer. GPT-2 stores q, k, v as one matrix; elsewhere qkv is undefined until fuse().
// `gate` is undefined in a feed-forward without one.
struct DecoderLayer {
  DecoderNorm input_norm, post_norm;
  DecoderLinear q, k, v, o, gate, up, down;
  DecoderLinear qkv, gate_up;  // after fuse(): q, k, v and gate, up are slices of these
};

// All frozen weights; every tensor f32, every one bf16 or every one f16.
struct DecoderWeights {
  DecoderConfig config;
  at::ScalarType dtype = at::kFloat;
  at::Tensor embeddings, positions, head;  // head is embeddings if they are tied
  DecoderNorm norm;
  std::vector<DecoderLayer> layers;
  bool int8 = false;  // the layers' matrices, laid together; then for DecoderStack alone

  // Lays q, k, v and gate, up of each layer together, for one product instead of several. Mapped
  // weights become memory of their own.
  void fuse();
};

// Hugging Face's name of each weight ("model.layers.0.self_attn.q_proj.weight"), its place and its
// shape in Hugging Face's file, in the order in which they are saved.
struct DecoderTensor {
  std::string name;
  at::Tensor* tensor;
  std::vector<std::int64_t> shape;
  bool transposed = false;  // the file has [in, out], as GPT-2's Conv1D
};
std::vector<DecoderTensor> decoder_tensors(DecoderWeights& weights);

// GGUF's name of Hugging Face's tensor.
std::string gguf_name(DecoderFamily family, const std::string& name);

// Names, shapes and values exactly as transformers saves the model; contiguous.
std::vector<std::pair<std::string, at::Tensor>> tensors_to_save(DecoderWeights& weights);

// Whether a Hugging Face file may have the tensor beside the weights: a second copy of tied
// embeddings, the causal masks of old GPT-2 files, and other old buffers.
bool is_spare_tensor(const DecoderConfig& config, std::string_view name);

// Under which name a Hugging Face file has the word embeddings: the head's if they are tied and not
// there themselves.
EmbeddingsName embeddings_name(const DecoderConfig& config, const TensorFile& file,
                               const std::string& prefix);

// Reads the weights that the file has under `prefix`, by Hugging Face's names (those of a model
// without its head too: "h.0…" for "transformer.h.0…") or, for a GGUF file, by GGUF's. Those that
// already are of `dtype` (f32, bf16 or f16) stay in the mapped file. One Error lists everything
// missing, unexpected (under the prefix; spare tensors are passed over) and mis-shaped. With `int8`
// the layers' matrices become int8: a row's largest value is 127 of its scale, which is what a
// frozen model needs least memory with while something is trained through it.
std::shared_ptr<DecoderWeights> load_decoder_weights(std::shared_ptr<const TensorFile> file,
                                                     const DecoderConfig& config,
                                                     at::ScalarType dtype,
                                                     const std::string& prefix = {},
                                                     bool int8 = false);

}  // namespace blip2
