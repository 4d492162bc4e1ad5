#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/language/embeddings_name.h"
#include "blip2/language/t5_config.h"
#include "blip2/nn/adopt.h"
#include "blip2/nn/linear.h"
#include "blip2/nn/norm.h"

namespace blip2 {

struct T5Attention {
  Norm norm;
  Linear q, k, v, o;  // [H K, D] three times, [D, H K]
};
struct T5FeedForward {
  Norm norm;
  Linear gate, up, down;    // [F, D] (no gate with ReLU), [F, D], [D, F]
  bool exact_gelu = false;  // the gate's GELU by erf; otherwise in the tanh form
};
struct T5Layer {
  T5Attention self;
  T5Attention cross;  // in the decoder only
  T5FeedForward feed_forward;
};
struct T5Stack {
  std::vector<T5Layer> layers;
  at::Tensor bias;  // [buckets, H] of relative attention: in the first layer's file, for all layers
  Norm norm;
};

// All frozen weights. Every tensor is f32 or every tensor is bf16, except the layers' matrices if
// they are int8.
struct T5Weights {
  T5Config config;
  at::ScalarType dtype = at::kFloat;
  WordTable embeddings;  // [V, D]
  Linear head;           // [V, D]; of the embeddings' numbers if the file has no other
  T5Stack encoder, decoder;
};

// A slot for each weight by Hugging Face's names
// ("encoder.block.0.layer.0.SelfAttention.q.weight"), in the order in which they are saved.
std::vector<TensorSlot> t5_tensors(T5Weights& weights);

// Patterns (AdoptOptions::ignored) of what a file may have beside the weights: copies of the
// embeddings, and a bias that old files of the original T5 have and no code uses.
std::vector<std::string> spare_tensors(const T5Config& config);

// The name under which a file has the word embeddings. If "shared.weight" is missing, it is the
// name of a copy or of a tied head.
EmbeddingsName embeddings_name(const T5Config& config, const TensorFile& file,
                               const std::string& prefix);

// Reads the weights that the file has under `prefix`. Weights that have the type `dtype` already
// stay in the mapped file. One Error lists everything missing, unexpected (under the prefix) and
// mis-shaped; spare tensors are ignored. Error for f16. A T5 has no joined matrices.
std::shared_ptr<T5Weights> load_t5_weights(std::shared_ptr<const TensorFile> file,
                                           const T5Config& config, at::ScalarType dtype,
                                           const std::string& prefix = {},
                                           MatrixForm form = MatrixForm::stored);

}  // namespace blip2
