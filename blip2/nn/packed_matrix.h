#pragma once

#include <torch/torch.h>

namespace blip2 {

// Frozen bf16 matrices laid once as oneDNN's products read them on this machine, which otherwise
// lay them anew for every product: with AMX that takes as long as a product of a few hundred rows.
// A packed matrix takes the memory of the matrix.

// Whether it pays for this matrix [out, in]: bf16, on a processor that multiplies bf16.
bool can_pack(const at::Tensor& matrix);
at::Tensor pack_matrix(const at::Tensor& matrix);
// x [N, in] bf16, contiguous -> [N, out] with `bias` [out] bf16 or none, without autograd.
at::Tensor packed_product(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias);

}  // namespace blip2
