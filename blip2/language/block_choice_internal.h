#pragma once

#include <cstdint>
#include <string>

#include "blip2/io/tensor_view.h"

namespace blip2 {

// What a tensor is in a language model, as far as its type in a quantised file depends on it.
enum class TensorRole {
  plain,       // norms, biases, positions: multiplied with by no matrix product
  words,       // the word embeddings of a model that has a head of its own
  head,        // the head, or the word embeddings that are the head too
  matrix,      // of a layer
  values,      // of attention: llama.cpp's attn_v
  joined_qkv,  // GPT-2's one matrix of queries, keys and values
  down,        // a feed-forward's second matrix
};

struct TensorPlace {
  TensorRole role = TensorRole::plain;
  std::int64_t layer = -1, layers = 0;  // of its stack
  std::int64_t width = 0;               // numbers of a row
};

// The type of a tensor where matrices shall have `wanted` (Q8_0, Q4_0 or Q4_K), as llama.cpp
// chooses for Q8_0, Q4_0 and Q4_K_M. The head is Q6_K, or Q8_0 with Q8_0. With Q4_K, half of the
// matrices of values and of a feed-forward's second ones (the first and last eighth of the layers
// and every third between) are Q6_K, and joined queries, keys and values are Q5_K. Rows that are no
// multiple of 256 take Q5_0 for Q4_K, Q5_1 for Q5_K and Q8_0 for Q6_K, and rows that are no
// multiple of 32 take f16. What is plain is f32.
DType block_choice(DType wanted, const TensorPlace& place);

// general.file_type of such a file: llama.cpp's llama_ftype.
std::uint32_t file_type_of(DType wanted);
// "Q4_K_M", as llama.cpp calls the mix.
std::string mix_name(DType wanted);

}  // namespace blip2
