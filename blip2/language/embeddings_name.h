#pragma once

#include <initializer_list>
#include <string>

#include "blip2/io/tensor_file.h"

namespace blip2 {

// The name that a file should have a model's word embeddings by, and the one that it has them by.
// They differ in a file that safetensors.torch.save_model wrote: it keeps one name, the first by
// the alphabet, of tensors that share memory, which may be the tied head's. Without prefix.
struct EmbeddingsName {
  std::string usual, stored;
};

// `others` are the names of tensors that equal the embeddings, looked for under the prefix if the
// usual name is not there.
EmbeddingsName find_embeddings(const TensorFile& file, const std::string& prefix,
                               const std::string& usual, std::initializer_list<const char*> others);

}  // namespace blip2
