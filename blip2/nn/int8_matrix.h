#pragma once

#include <torch/torch.h>

namespace blip2 {

// A frozen matrix with one byte an element: row i is values[i] * scale[i]. Half precision holds the
// values exactly, so that products may be computed with the values in half precision and their
// results multiplied by the scales.
struct Int8Matrix {
  at::Tensor values;  // [out, in] int8
  at::Tensor scale;   // [out] f32

  bool defined() const { return values.defined(); }
};

// The int8 matrix nearest to [out, in]: the scale of a row is its largest absolute value / 127.
Int8Matrix to_int8(const at::Tensor& weight);

}  // namespace blip2
