#pragma once
// The table of one instruction set; included by the kernels_*.cpp only.
#include "blip2/nn/kernels/activations_internal.h"
#include "blip2/nn/kernels/add_norm_internal.h"
#include "blip2/nn/kernels/causal_attention_backward_internal.h"
#include "blip2/nn/kernels/cross_entropy_internal.h"
#include "blip2/nn/kernels/dense_attention_internal.h"
#include "blip2/nn/kernels/linear_internal.h"
#include "blip2/nn/kernels/norms_internal.h"
#include "blip2/nn/kernels/rows_internal.h"
#include "blip2/nn/kernels/segment_attention_backward_internal.h"
#include "blip2/nn/kernels/token_attention_internal.h"

namespace blip2 {
namespace {

template <typename T>
constexpr Kernels<T> table = {
    .rms_norm = rms_norm<T>,
    .rms_norm_backward = rms_norm_backward<T>,
    .layer_norm = layer_norm<T>,
    .layer_norm_backward = layer_norm_backward<T>,
    .add_norm = add_norm<T>,
    .add_norm_backward = add_norm_backward<T>,
    .rope = rope<T>,
    .silu_mul = silu_mul<T>,
    .silu_mul_backward = silu_mul_backward<T>,
    .gelu_mul = gelu_mul<T>,
    .gelu_mul_backward = gelu_mul_backward<T>,
    .relu = relu<T>,
    .relu_backward = relu_backward<T>,
    .gelu_tanh = gelu_tanh<T>,
    .gelu_tanh_backward = gelu_tanh_backward<T>,
    .quick_gelu = quick_gelu<T>,
    .gelu = gelu<T>,
    .gelu_backward = gelu_backward<T>,
    .add_bias = add_bias<T>,
    .add = add<T>,
    .narrow = narrow<T>,
    .column_sums = column_sums<T>,
    .sum_rows = sum_rows<T>,
    .cross_entropy = cross_entropy<T>,
    .smoothed_cross_entropy = smoothed_cross_entropy<T>,
    .log_sum_exp = log_sum_exp<T>,
    .attention = attention<T>,
    .attention_backward = attention_backward<T>,
    .attend_token = attend_token<T>,
    .attend_all = attend_all<T>,
    .attend = attend<T>,
    .attend_backward = attend_backward<T>,
    .linear = linear<T>,
};

}  // namespace
}  // namespace blip2
