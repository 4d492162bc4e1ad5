#pragma once
// The table of one instruction set; included by the kernels_*.cpp only.
#include "blip2/nn/kernels/attention.h"
#include "blip2/nn/kernels/layers.h"
#include "blip2/nn/kernels/linear.h"

namespace blip2 {
namespace {

template <typename T>
constexpr Kernels<T> table = {
    rms_norm<T>,
    rms_norm_backward<T>,
    rope<T>,
    silu_mul<T>,
    silu_mul_backward<T>,
    add<T>,
    narrow<T>,
    cross_entropy<T>,
    attention<T>,
    attention_backward<T>,
    linear<T>,
};

}  // namespace
}  // namespace blip2
