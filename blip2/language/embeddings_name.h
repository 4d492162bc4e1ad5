#pragma once

#include <initializer_list>
#include <string>

#include "blip2/io/tensor_file.h"

namespace blip2 {

// The usual name of a model's word embeddings, and the name under which a file has them, both
// without prefix. They differ in a file that safetensors.torch.save_model wrote: of tensors that
// share memory it keeps only the name that comes first in the alphabet, which may be the tied
// head's.
struct EmbeddingsName {
  std::string usual, stored;
};

// `others`: names of tensors that equal the embeddings; they are searched under the prefix if the
// usual name is missing.
EmbeddingsName find_embeddings(const TensorFile& file, const std::string& prefix,
                               const std::string& usual, std::initializer_list<const char*> others);

}  // namespace blip2
