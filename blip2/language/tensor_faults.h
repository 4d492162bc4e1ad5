#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "blip2/io/tensor_file.h"

namespace blip2 {

// What does not fit of one tensor (null: not there), under the name that the file should have it
// by; empty if it has the shape and floating-point numbers.
std::string tensor_fault(const TensorView* tensor, const std::string& name,
                         const std::vector<std::int64_t>& shape);

// Throws the Error that lists what does not fit of a language model's tensors; nothing if all do.
void refuse_faults(const std::vector<std::string>& faults, const TensorFile& file);

}  // namespace blip2
