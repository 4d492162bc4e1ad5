#pragma once

#include <string>
#include <vector>

#include "blip2/io/tensor_file.h"

namespace blip2 {

// Throws the Error that lists what does not fit of a language model's tensors; nothing if all do.
void refuse_faults(const std::vector<std::string>& faults, const TensorFile& file);

}  // namespace blip2
