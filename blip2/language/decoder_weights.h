#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/language/decoder_config.h"
#include "blip2/language/embeddings_name.h"
#include "blip2/nn/adopt.h"
#include "blip2/nn/linear.h"
#include "blip2/nn/norm.h"
#include "blip2/nn/word_table.h"

namespace blip2 {

class LoraAdapters;  // of lora.h

// One layer; what its model does not have is undefined.
struct DecoderLayer {
  Norm input_norm;            // before attention
  Norm query_norm, key_norm;  // over each head or over all heads, before they rotate
  Linear qkv, o;              // queries, keys and values side by side
  Norm attention_norm;        // behind attention
  Norm post_norm;             // before the feed-forward
  Linear gate_up, down;       // gate and up side by side, or up alone
  Norm feed_forward_norm;     // behind the feed-forward
};

// All frozen weights; every tensor f32, every one bf16 or every one f16, but for the layers'
// matrices if they are int8, and for what is in blocks. Nothing changes them after loading.
struct DecoderWeights {
  DecoderConfig config;
  at::ScalarType dtype = at::kFloat;
  WordTable embeddings;
  at::Tensor positions;
  Linear head;  // of the embeddings' numbers if they are tied
  Norm norm;
  std::vector<DecoderLayer> layers;
  MatrixForm form = MatrixForm::stored;  // of the layers' matrices; `blocks`: of words and head too
  std::shared_ptr<const LoraAdapters> lora;  // those that stand beside the matrices, or null
};

// What word embeddings of `dtype` are multiplied by as the model reads them: a number of that type.
double embedding_scale(const DecoderConfig& config, at::ScalarType dtype);

// A slot for each weight, in the order in which they are saved: by Hugging Face's names
// ("model.layers.0.self_attn.q_proj.weight") or by those of a GGUF file.
std::vector<TensorSlot> decoder_tensors(DecoderWeights& weights, bool gguf = false);

// Names, shapes and values exactly as transformers saves the model; contiguous.
std::vector<std::pair<std::string, at::Tensor>> tensors_to_save(DecoderWeights& weights);

// Patterns (AdoptOptions::ignored) of what a Hugging Face file may have beside the weights: a
// second copy of tied embeddings, the causal masks of old GPT-2 files.
std::vector<std::string> spare_tensors(const DecoderConfig& config);

// The name under which a Hugging Face file has the word embeddings: the head's name if they are
// tied and the file has only the head.
EmbeddingsName embeddings_name(const DecoderConfig& config, const TensorFile& file,
                               const std::string& prefix);

// Reads the weights that the file has under `prefix`, by Hugging Face's names (those of a model
// without its head too: "h.0…" for "transformer.h.0…") or, for a GGUF file, by GGUF's. Those that
// already are of `dtype` (f32, bf16 or f16) stay in the mapped file, the layers' matrices only with
// MatrixForm::stored or blocks. With the latter a GGUF file's matrices in blocks stay in them: laid
// together in memory of their own (the word embeddings' rows in the file as well), a tied head as
// well. One Error lists everything missing, unexpected (under the prefix; spare
// tensors are passed over) and mis-shaped.
std::shared_ptr<DecoderWeights> load_decoder_weights(std::shared_ptr<const TensorFile> file,
                                                     const DecoderConfig& config,
                                                     at::ScalarType dtype,
                                                     const std::string& prefix = {},
                                                     MatrixForm form = MatrixForm::stored);

}  // namespace blip2
