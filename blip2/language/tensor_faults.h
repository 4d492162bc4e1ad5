#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "blip2/io/tensor_file.h"

namespace blip2 {

// Says what is wrong with one tensor of a file (nullptr: the file lacks it), under its usual name;
// empty if it has the shape and floating-point numbers.
std::string tensor_fault(const TensorView* tensor, const std::string& name,
                         const std::vector<std::int64_t>& shape);

// Throws the Error that lists the faults of a language model's tensors; does nothing if there are
// none.
void refuse_faults(const std::vector<std::string>& faults, const TensorFile& file);

}  // namespace blip2
