#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

#include "blip2/io/gguf.h"
#include "blip2/io/tensor_file.h"
#include "blip2/language/llama_config.h"

namespace blip2 {

// One layer's matrices as [out, in]; norms as the checkpoint has them and in f32 for the kernels.
struct LlamaLayer {
  at::Tensor input_norm, q, k, v, o, post_norm, gate, up, down;
  at::Tensor input_norm_f32, post_norm_f32;
  at::Tensor qkv, gate_up;  // after fuse(): q, k, v and gate, up are slices of these
};

// All frozen weights; every tensor f32 or every tensor bf16.
struct LlamaWeights {
  LlamaConfig config;
  at::ScalarType dtype = at::kFloat;
  at::Tensor embeddings, norm, head;  // head is embeddings if they are tied
  at::Tensor norm_f32;
  std::vector<LlamaLayer> layers;

  // Lays q, k, v and gate, up of each layer together, for one product instead of several. Mapped
  // weights become memory of their own.
  void fuse();
};

// Hugging Face's name of each weight ("model.layers.0.self_attn.q_proj.weight"), its place and its
// shape, in the order in which they are saved.
struct LlamaTensor {
  std::string name;
  at::Tensor* tensor;
  std::vector<std::int64_t> shape;
};
std::vector<LlamaTensor> llama_tensors(LlamaWeights& weights);

// Reads the weights that the file has under `prefix`, by Hugging Face's names or, for a GGUF file,
// by GGUF's. Those that already are of `dtype` stay in the mapped file. One Error lists everything
// missing, unexpected (under the prefix) and mis-shaped.
std::shared_ptr<LlamaWeights> load_llama_weights(std::shared_ptr<const TensorFile> file,
                                                 const LlamaConfig& config, at::ScalarType dtype,
                                                 const std::string& prefix = {});

}  // namespace blip2
