#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/language/embeddings_name.h"
#include "blip2/language/t5_config.h"
#include "blip2/nn/linear.h"
#include "blip2/nn/norm.h"
#include "blip2/nn/word_table.h"

namespace blip2 {

struct T5Attention {
  Norm norm;
  Linear q, k, v, o;  // [H K, D] three times, [D, H K]
};
struct T5FeedForward {
  Norm norm;
  Linear gate, up, down;    // [F, D] (no gate with ReLU), [F, D], [D, F]
  bool exact_gelu = false;  // of the gate: erf, otherwise the tanh form
};
struct T5Layer {
  T5Attention self;
  T5Attention cross;  // of the decoder only
  T5FeedForward feed_forward;
};
struct T5Stack {
  std::vector<T5Layer> layers;
  at::Tensor bias;  // relative attention, [buckets, H]: in the first layer, for all of them
  Norm norm;
};

// All frozen weights; every tensor f32 or every tensor bf16, but for the layers' matrices if they
// are int8, and for what is in blocks.
struct T5Weights {
  T5Config config;
  at::ScalarType dtype = at::kFloat;
  WordTable embeddings;  // [V, D]
  Linear head;           // [V, D]; of the embeddings' numbers if the file has no other
  T5Stack encoder, decoder;
};

// Hugging Face's name of each weight ("encoder.block.0.layer.0.SelfAttention.q.weight"), its place
// and its shape, in the order in which they are saved.
struct T5Tensor {
  std::string name;
  at::Tensor* tensor;
  std::vector<std::int64_t> shape;
  std::int64_t layer = -1;        // of its stack; -1: of no layer
  Linear* linear = nullptr;       // the layer's that it is the matrix of
  BlockMatrix* blocks = nullptr;  // its place in blocks, if it is multiplied with
};
std::vector<T5Tensor> t5_tensors(T5Weights& weights);

// Whether a file may have the tensor beside the weights: copies of the embeddings, old buffers, and
// a bias that old files of the original T5 have and no code uses.
bool is_spare_tensor(const T5Config& config, std::string_view name);

// Under which name a file has the word embeddings: a copy's or, if it is tied, the head's if
// "shared.weight" is not there.
EmbeddingsName embeddings_name(const T5Config& config, const TensorFile& file,
                               const std::string& prefix);

// Reads the weights that the file has under `prefix`, by GGUF's names from a GGUF file. Those that
// already are of `dtype` stay in the mapped file, with MatrixForm::blocks those of a GGUF file that
// are in blocks stay in them. One Error lists everything missing, unexpected (under the prefix) and
// mis-shaped; spare tensors are passed over. Error for f16. No matrices of a T5 are joined.
std::shared_ptr<T5Weights> load_t5_weights(std::shared_ptr<const TensorFile> file,
                                           const T5Config& config, at::ScalarType dtype,
                                           const std::string& prefix = {},
                                           MatrixForm form = MatrixForm::stored);

}  // namespace blip2
