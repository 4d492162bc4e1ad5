#pragma once
// The table of one instruction set; included by the kernels_*.cpp only.
#include "blip2/nn/kernels/attention.h"
#include "blip2/nn/kernels/layers.h"
#include "blip2/nn/kernels/linear.h"

namespace blip2 {
namespace {

template <typename T>
constexpr Kernels<T> table = {
    .rms_norm = rms_norm<T>,
    .rms_norm_backward = rms_norm_backward<T>,
    .layer_norm = layer_norm<T>,
    .layer_norm_backward = layer_norm_backward<T>,
    .rope = rope<T>,
    .silu_mul = silu_mul<T>,
    .silu_mul_backward = silu_mul_backward<T>,
    .relu = relu<T>,
    .relu_backward = relu_backward<T>,
    .gelu_tanh = gelu_tanh<T>,
    .gelu_tanh_backward = gelu_tanh_backward<T>,
    .add_bias = add_bias<T>,
    .add = add<T>,
    .narrow = narrow<T>,
    .cross_entropy = cross_entropy<T>,
    .log_sum_exp = log_sum_exp<T>,
    .attention = attention<T>,
    .attention_backward = attention_backward<T>,
    .linear = linear<T>,
};

}  // namespace
}  // namespace blip2
