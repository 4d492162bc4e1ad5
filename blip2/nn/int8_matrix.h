#pragma once

#include <torch/torch.h>

namespace blip2 {

// A frozen matrix in a byte an element: row i is values[i] * scale[i]. Half precision holds the
// values exactly, so that products may take them as that and multiply the results by the scales.
struct Int8Matrix {
  at::Tensor values;  // [out, in] int8
  at::Tensor scale;   // [out] f32

  bool defined() const { return values.defined(); }
};

// The nearest int8 matrix of [out, in]: a row's largest value is 127 of its scale.
Int8Matrix to_int8(const at::Tensor& weight);

}  // namespace blip2
