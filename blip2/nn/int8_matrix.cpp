#include "blip2/nn/int8_matrix.h"

namespace blip2 {

Int8Matrix to_int8(const at::Tensor& weight) {
  const at::Tensor values = weight.to(at::kFloat);
  const at::Tensor largest = values.abs().amax(1, true) / 127;
  const at::Tensor scale = at::where(largest > 0, largest, 1);  // of a row of zeros, any
  return {(values / scale).round().to(at::kChar), scale.flatten()};
}

}  // namespace blip2
