// What instruction sets owe each other: from AVX2 on, which multiplies and adds in one rounding,
// every kernel in f32 that a decoder writes texts by gives the same bits on every set. So do
// products with matrices in blocks (block_kernels_test.cpp); so a text is the same. Plain C++
// rounds products by themselves.
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "blip2/nn/kernels/kernel_check.h"

namespace blip2 {
namespace {

using kernel_check::data;
using kernel_check::Int;
using kernel_check::Tensor;
using Compute = std::function<Tensor(const Kernels<float>&)>;

Tensor normal_numbers(at::IntArrayRef shape, std::uint64_t seed, double scale = 1) {
  return kernel_check::random<float>(shape, seed, scale);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.sizes() == b.sizes() && std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0;
}

// From AVX2 on equal; plain C++ close to them.
void expect_same_bits(const Compute& compute, const char* what) {
  Tensor first;
  for (const KernelSet& set : runnable_kernels()) {
    const Tensor y = compute(*set.f32);
    if (std::string(set.name) == "plain") continue;
    if (!first.defined()) first = y;
    EXPECT_TRUE(same_bits(y, first)) << what << " by " << set.name;
  }
  if (!first.defined()) return;  // this machine has plain C++ alone
  const Tensor plain = compute(*plain_kernels().f32);
  kernel_check::expect_close<float>(plain, kernel_check::exact(first), what, 4);
}

// Widths of real models, and widths that are no multiples of any register.
constexpr Int kWidths[] = {576, 64, 83, 7};

TEST(KernelBits, Norms) {
  for (const Int width : kWidths) {
    const Tensor x = normal_numbers({5, width}, 1, 3), weight = normal_numbers({width}, 2),
                 bias = normal_numbers({width}, 3);
    const auto rms = [&](const Kernels<float>& k) {
      const Tensor y = at::empty_like(x);
      k.rms_norm(data<float>(x), data<float>(weight), data<float>(y), 5, width, 1e-5f);
      return y;
    };
    const auto layer = [&](const Kernels<float>& k) {
      const Tensor y = at::empty_like(x);
      k.layer_norm(data<float>(x), data<float>(weight), data<float>(bias), data<float>(y), 5, width,
                   1e-5f);
      return y;
    };
    expect_same_bits(rms, "rms_norm");
    expect_same_bits(layer, "layer_norm");
  }
}

TEST(KernelBits, PositionsAndActivations) {
  for (const Int width : kWidths) {
    const Tensor x = normal_numbers({5, 2 * width}, 4, 3), angles = normal_numbers({width}, 5),
                 cos = angles.cos(), sin = angles.sin();
    const auto rope = [&](const Kernels<float>& k) {
      const Tensor y = x.clone();
      k.rope(data<float>(y), data<float>(cos), data<float>(sin), 5, 2 * width, 1.0f);
      return y;
    };
    const auto silu = [&](const Kernels<float>& k) {
      const Tensor y = at::empty({5, width});
      k.silu_mul(data<float>(x), data<float>(y), 5, width);
      return y;
    };
    const auto gelu = [&](const Kernels<float>& k) {
      const Tensor y = at::empty_like(x);
      k.gelu_tanh(data<float>(x), data<float>(y), x.numel());
      return y;
    };
    const auto gated = [&](const Kernels<float>& k) {
      const Tensor y = at::empty({5, width});
      k.gelu_mul(data<float>(x), data<float>(y), 5, width);
      return y;
    };
    expect_same_bits(rope, "rope");
    expect_same_bits(gated, "gelu_mul");
    expect_same_bits(silu, "silu_mul");
    expect_same_bits(gelu, "gelu_tanh");
  }
}

TEST(KernelBits, SumsOfLogits) {
  for (const Int count : {7, 83, 49152}) {
    const Tensor x = normal_numbers({count}, 12, 3);
    const auto total = [&](const Kernels<float>& k) {
      return at::full({1}, k.log_sum_exp(data<float>(x), count));
    };
    expect_same_bits(total, "log_sum_exp");
  }
}

TEST(KernelBits, AttentionOfOneToken) {
  for (const Int dim : {64, 80, 20, 131}) {
    for (const Int keys : {1, 6, 41, 300}) {
      const Int group = 3, shared = keys / 3;
      const Tensor q = normal_numbers({group, dim}, 6), k = normal_numbers({keys, dim}, 7),
                   v = normal_numbers({keys, dim}, 8);
      const auto attend = [&](const Kernels<float>& kernels) {
        const Tensor out = at::empty_like(q);
        const Tensor scratch = at::empty({token_attention_scratch(keys, dim)});
        const float *key = data<float>(k), *value = data<float>(v);
        const CachedKeys<float> lists[] = {
            {key, value, shared}, {key + shared * dim, value + shared * dim, keys - shared}};
        kernels.attend_token({.q = data<float>(q),
                              .out = data<float>(out),
                              .group = group,
                              .head_dim = dim,
                              .lists = lists,
                              .count = 2,
                              .scale = 0.3f},
                             data<float>(scratch));
        return out;
      };
      expect_same_bits(attend, "attend_token");
    }
  }
}

TEST(KernelBits, AttentionOfAPrompt) {
  for (const Int dim : {64, 20}) {
    const Int queries = 37, group = 3, start = 5, keys = start + queries;
    const AttentionShape shape{start, queries, group, dim, group * dim, dim, group * dim, 0.3f};
    const Tensor q = normal_numbers({queries, group, dim}, 9), k = normal_numbers({keys, dim}, 10),
                 v = normal_numbers({keys, dim}, 11);
    const auto attend = [&](const Kernels<float>& kernels) {
      const Tensor out = at::empty_like(q), scratch = at::empty({attention_scratch(shape)});
      kernels.attention(data<float>(q), data<float>(k), data<float>(v), data<float>(out), shape,
                        data<float>(scratch));
      return out;
    };
    expect_same_bits(attend, "attention");
  }
}

}  // namespace
}  // namespace blip2
