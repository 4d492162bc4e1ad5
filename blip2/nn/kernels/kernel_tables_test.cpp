// Every kernel of every table that the machine can run, in f32, bf16 and f16, against LibTorch in
// f64. Widths are no multiples of a vector.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/processor.h"
#include "blip2/nn/kernels/kernel_check.h"

namespace blip2 {
namespace {

using kernel_check::data;
using kernel_check::exact;
using kernel_check::expect_close;
using kernel_check::Int;
using kernel_check::on_every_table;
using kernel_check::random;
using kernel_check::Tensor;
using ::testing::HasSubstr;
using ::testing::StrEq;
using ::testing::ThrowsMessage;

constexpr Int kRowCount = 5, kWidth = 83;

// A new kernel needs a test here or in kernel_attention_test.cpp.
static_assert(sizeof(Kernels<float>) == 33 * sizeof(void (*)()));

Tensor f32(at::IntArrayRef shape, std::uint64_t seed) {
  return random<float>(shape, seed);
}

Tensor gradient(const Tensor& y, const Tensor& at, const Tensor& dy) {
  return torch::autograd::grad({y}, {at}, {dy})[0];
}

TEST(KernelTables, AreTheMachines) {
  std::set<std::string> names;
  for (const KernelSet& set : runnable_kernels()) names.insert(set.name);
  EXPECT_TRUE(names.contains("plain"));
  EXPECT_EQ(names.contains("avx2"), processor().avx2);
  EXPECT_EQ(names.contains("avx512"), processor().avx512);
  EXPECT_EQ(names.contains("avx512-bf16"), processor().avx512_bf16);
  EXPECT_EQ(names.contains("amx"), processor().amx_bf16);
}

TEST(KernelTables, TheVariableNamesTheMostToUse) {
  const auto sets = runnable_kernels();
  EXPECT_THAT(choose_kernels(sets, "").name, StrEq(sets.back().name));
  EXPECT_THAT(choose_kernels(sets, "plain").name, StrEq("plain"));
  EXPECT_THAT(choose_kernels(sets, "avx2").name, StrEq(processor().avx2 ? "avx2" : "plain"));
  EXPECT_THAT(choose_kernels({sets[0]}, "amx").name, StrEq("plain"));
  EXPECT_THAT([&] { choose_kernels(sets, "avx3"); },
              ThrowsMessage<Error>(HasSubstr("expected plain, avx2, avx512, avx512-bf16, amx, got "
                                             "avx3")));
}

TEST(KernelTables, RmsNorm) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    const Tensor x = f32({kRowCount, kWidth}, 1), weight = f32({kWidth}, 2);
    const Tensor y = random<T>({kRowCount, kWidth}, 3), dy = random<T>({kRowCount, kWidth}, 4);
    const Tensor dx = at::ones({kRowCount, kWidth});
    k.rms_norm(data<float>(x), data<float>(weight), data<T>(y), kRowCount, kWidth, 1e-5f);
    k.rms_norm_backward(data<float>(x), data<float>(weight), data<T>(dy), data<float>(dx),
                        kRowCount, kWidth, 1e-5f);
    const Tensor at = exact(x).requires_grad_();
    const Tensor expected = at * (at.square().mean(-1, true) + 1e-5).rsqrt() * exact(weight);
    expect_close<T>(y, expected, "y");
    expect_close<float>(dx, 1 + gradient(expected, at, exact(dy)), "dx", 4);
  });
}

TEST(KernelTables, LayerNorm) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    const Tensor x = f32({kRowCount, kWidth}, 1), weight = f32({kWidth}, 2),
                 bias = f32({kWidth}, 3);
    const Tensor y = random<T>({kRowCount, kWidth}, 4), dy = random<T>({kRowCount, kWidth}, 5);
    const Tensor dx = at::ones({kRowCount, kWidth});
    k.layer_norm(data<float>(x), data<float>(weight), data<float>(bias), data<T>(y), kRowCount,
                 kWidth, 1e-5f);
    k.layer_norm_backward(data<float>(x), data<float>(weight), data<T>(dy), data<float>(dx),
                          kRowCount, kWidth, 1e-5f);
    const Tensor at = exact(x).requires_grad_();
    const Tensor expected = at::layer_norm(at, {kWidth}, exact(weight), exact(bias), 1e-5);
    expect_close<T>(y, expected, "y");
    expect_close<float>(dx, 1 + gradient(expected, at, exact(dy)), "dx", 4);
  });
}

// The factors by which dropout multiplies [rows, width], one element after another.
Tensor dropout_factors(std::uint64_t seed, Int rows, Int width, float p) {
  Tensor factors = at::empty({rows, width}, at::kDouble);
  for (Int row = 0; row < rows; ++row) {
    const auto own = static_cast<std::uint32_t>(derive_seed(seed, row));
    for (Int i = 0; i < width; ++i) {
      std::uint32_t x = own ^ (static_cast<std::uint32_t>(i) * 0x9e3779b9u);
      x = (x ^ (x >> 16)) * 0x7feb352du;
      x = (x ^ (x >> 15)) * 0x846ca68bu;
      x ^= x >> 16;
      const bool dropped = x < static_cast<double>(p) * 4294967296.0;
      factors[row][i] = dropped ? 0.0 : 1.0 / (1.0 - static_cast<double>(p));
    }
  }
  return factors;
}

template <typename T>
void check_add_norm(const Kernels<T>& k, float dropout, bool with_source) {
  const Tensor given = random<T>({kRowCount, kWidth}, 1), x = random<T>({3, kWidth}, 2);
  const Tensor bias = f32({kWidth}, 3), weight = f32({kWidth}, 4), offset = f32({kWidth}, 5);
  const Tensor source = at::tensor({2, 0, 0, 1, 2}, at::kInt);
  const Tensor residual = with_source ? x : random<T>({kRowCount, kWidth}, 6);
  const Tensor a = given.clone(), y = at::empty_like(given), statistics = at::empty({2, kRowCount});
  k.add_norm({.a = data<T>(a),
              .x = data<T>(residual),
              .source = with_source ? data<std::int32_t>(source) : nullptr,
              .bias = data<float>(bias),
              .weight = data<float>(weight),
              .offset = data<float>(offset),
              .y = data<T>(y),
              .mean = data<float>(statistics),
              .scale = data<float>(statistics) + kRowCount,
              .width = kWidth,
              .eps = 1e-5f,
              .dropout = dropout,
              .seed = 9},
             0, kRowCount);
  const Tensor factors = dropout_factors(9, kRowCount, kWidth, dropout);
  const Tensor rows = with_source ? exact(x).index_select(0, source) : exact(residual);
  const Tensor sum = (exact(given) + exact(bias)) * factors + rows;
  expect_close<T>(a, sum, "sum");
  expect_close<T>(y, at::layer_norm(sum, {kWidth}, exact(weight), exact(offset), 1e-5), "y");

  const Tensor dy = random<T>({kRowCount, kWidth}, 7), dsum = at::empty_like(dy);
  const Tensor da = at::empty_like(dy), dbias = at::ones({kWidth}), dweight = at::ones({kWidth}),
               doffset = at::ones({kWidth});
  k.add_norm_backward({.sum = data<T>(a),
                       .y_gradient = data<T>(dy),
                       .mean = data<float>(statistics),
                       .scale = data<float>(statistics) + kRowCount,
                       .weight = data<float>(weight),
                       .sum_gradient = data<T>(dsum),
                       .a_gradient = dropout > 0 ? data<T>(da) : nullptr,
                       .bias = data<float>(dbias),
                       .weight_gradient = data<float>(dweight),
                       .offset = data<float>(doffset),
                       .width = kWidth,
                       .dropout = dropout,
                       .seed = 9},
                      0, kRowCount);
  // The sum as it was kept, rounded to T, is what the gradient is taken at.
  const Tensor at = exact(a).requires_grad_(), scale = exact(weight).requires_grad_();
  const Tensor moved = exact(offset).requires_grad_();
  const auto expected = torch::autograd::grad({at::layer_norm(at, {kWidth}, scale, moved, 1e-5)},
                                              {at, scale, moved}, {exact(dy)});
  const double rounded = sizeof(T) == 4 ? 4 : 2;
  expect_close<T>(dsum, expected[0], "dsum", rounded);
  if (dropout > 0) expect_close<T>(da, expected[0] * factors, "da", rounded);
  expect_close<T>(dbias, 1 + (expected[0] * factors).sum(0), "dbias", 4);
  expect_close<T>(dweight, 1 + expected[1], "dweight", 4);
  expect_close<float>(doffset, 1 + expected[2], "doffset", 4);
}

TEST(KernelTables, AddNorm) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    check_add_norm(k, 0.0f, false);
    check_add_norm(k, 0.0f, true);
    check_add_norm(k, 0.3f, false);
  });
}

TEST(KernelTables, Rope) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    const Int heads = 3, half = 11;
    const Tensor x = random<T>({heads, 2 * half}, 1), angles = f32({half}, 2);
    const Tensor cos = angles.cos(), sin = angles.sin(), y = x.clone();
    k.rope(data<T>(y), data<float>(cos), data<float>(sin), heads, 2 * half, 1.0f);
    const Tensor a = exact(x).narrow(1, 0, half), b = exact(x).narrow(1, half, half);
    const Tensor c = exact(cos), s = exact(sin);
    expect_close<T>(y, at::cat({a * c - b * s, b * c + a * s}, 1), "turned");
    k.rope(data<T>(y), data<float>(cos), data<float>(sin), heads, 2 * half, -1.0f);
    expect_close<T>(y, exact(x), "turned back", 3);
  });
}

template <typename T, typename Activate>
void check_gated(decltype(Kernels<T>::silu_mul) forward,
                 decltype(Kernels<T>::silu_mul_backward) backward, const Activate& activate) {
  const Tensor x = random<T>({kRowCount, 2 * kWidth}, 1, 3), dx = at::empty_like(x);
  const Tensor dy = random<T>({kRowCount, kWidth}, 2), y = at::empty_like(dy);
  forward(data<T>(x), data<T>(y), kRowCount, kWidth);
  backward(data<T>(x), data<T>(dy), data<T>(dx), kRowCount, kWidth);
  const Tensor at = exact(x).requires_grad_();
  const Tensor expected = activate(at.narrow(1, 0, kWidth)) * at.narrow(1, kWidth, kWidth);
  expect_close<T>(y, expected, "y");
  expect_close<T>(dx, gradient(expected, at, exact(dy)), "dx");
}

TEST(KernelTables, GatedActivations) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    const auto silu = [](const Tensor& x) { return at::silu(x); };
    const auto gelu = [](const Tensor& x) { return at::gelu(x, "tanh"); };
    check_gated<T>(k.silu_mul, k.silu_mul_backward, silu);
    check_gated<T>(k.gelu_mul, k.gelu_mul_backward, gelu);
  });
}

TEST(KernelTables, Relu) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    const Tensor x = random<T>({kWidth}, 1), dy = random<T>({kWidth}, 2);
    const Tensor y = at::empty_like(x), dx = at::empty_like(x);
    k.relu(data<T>(x), data<T>(y), kWidth);
    k.relu_backward(data<T>(x), data<T>(dy), data<T>(dx), kWidth);
    EXPECT_TRUE(y.equal(at::relu(x)));
    EXPECT_TRUE(dx.equal(at::where(x > 0, dy, at::zeros_like(dy))));
  });
}

TEST(KernelTables, GeluByTanh) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    const Tensor x = random<T>({kWidth}, 1, 4), dy = random<T>({kWidth}, 2);
    const Tensor y = at::empty_like(x), dx = at::empty_like(x);
    k.gelu_tanh(data<T>(x), data<T>(y), kWidth);
    k.gelu_tanh_backward(data<T>(x), data<T>(dy), data<T>(dx), kWidth);
    const Tensor at = exact(x).requires_grad_(), expected = at::gelu(at, "tanh");
    expect_close<T>(y, expected, "y");
    expect_close<T>(dx, gradient(expected, at, exact(dy)), "dx");
  });
}

TEST(KernelTables, QuickGelu) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    const Tensor x = random<T>({kWidth}, 1, 4), y = at::empty_like(x);
    k.quick_gelu(data<T>(x), data<T>(y), kWidth);
    expect_close<T>(y, exact(x) * at::sigmoid(1.702 * exact(x)), "y");
  });
}

TEST(KernelTables, GeluByTheErrorFunction) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    const Tensor x = random<T>({kRowCount, kWidth}, 1, 4), dy = random<T>({kRowCount, kWidth}, 2);
    const Tensor bias = f32({kWidth}, 3), dbias = at::ones({kWidth});
    const Tensor y = at::zeros_like(x), dx = at::zeros_like(x);
    k.gelu(data<T>(x), data<float>(bias), data<T>(y), kWidth, 1, kRowCount);
    k.gelu_backward(data<T>(x), data<float>(bias), data<T>(dy), data<T>(dx), data<float>(dbias),
                    kWidth, 1, kRowCount);
    const Tensor at = (exact(x) + exact(bias)).requires_grad_(), all = at::gelu(at);
    const Tensor mask = at::ones_like(all);
    mask[0] = 0;  // the row that it was not told to do
    const Tensor expected = gradient(all, at, exact(dy)) * mask;
    expect_close<T>(y, all * mask, "y", 2);
    expect_close<T>(dx, expected, "dx", 2);
    expect_close<float>(dbias, 1 + expected.sum(0), "dbias", 4);
  });
}

TEST(KernelTables, Sums) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    const Tensor x = random<T>({kRowCount, kWidth}, 1), bias = f32({kWidth}, 2);
    const Tensor base = f32({kRowCount, kWidth}, 3);
    const Tensor biased = x.clone(), added = at::empty_like(base), sums = at::ones({kWidth});
    k.add_bias(data<T>(biased), data<float>(bias), kRowCount, kWidth);
    expect_close<T>(biased, exact(x) + exact(bias), "add_bias");
    k.add(data<float>(base), data<T>(x), data<float>(added), kRowCount * kWidth);
    expect_close<float>(added, exact(base) + exact(x), "add");
    k.column_sums(data<T>(x), data<float>(sums), kRowCount, kWidth, 3, kWidth - 2);
    Tensor expected = at::ones({kWidth}, at::kDouble);
    expected.narrow(0, 3, kWidth - 5) += exact(x).sum(0).narrow(0, 3, kWidth - 5);
    expect_close<float>(sums, expected, "column_sums", 2);

    const Tensor starts = at::tensor({0, 2, 2, 5}, at::kInt);
    const Tensor from = at::tensor({4, 0, 1, 1, 3}, at::kInt), y = at::ones({3, kWidth}, x.dtype());
    k.sum_rows(data<T>(x), data<T>(y), data<std::int32_t>(starts), data<std::int32_t>(from), kWidth,
               0, 3);
    const Tensor rows = exact(x);
    expect_close<T>(y,
                    at::stack({rows[4] + rows[0], at::zeros_like(rows[0]), 2 * rows[1] + rows[3]}),
                    "sum_rows");
  });
}

// As LibTorch rounds: to nearest even, subnormal numbers, infinity and beyond the range included.
TEST(KernelTables, NarrowRoundsAsLibTorchAndKeepsNan) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    const Tensor wide = random<float>({4000}, 1) * at::pow(10, at::linspace(-46, 38, 4000));
    const Tensor edges = at::tensor({0.0f, -0.0f, 65519.0f, 65520.0f, 1.00048828125f, 0x1p-25f,
                                     1.00390625f, 3.4e38f, INFINITY, -INFINITY, NAN, -NAN});
    const Tensor x = at::cat({wide, edges}), y = at::empty({x.numel()}, kernel_check::type_of<T>());
    k.narrow(data<float>(x), data<T>(y), x.numel());
    EXPECT_TRUE(y.equal(x.to(y.scalar_type())) ||
                at::allclose(y, x.to(y.scalar_type()), 0, 0, true));
    EXPECT_TRUE(y.slice(0, -2).isnan().all().template item<bool>());
  });
}

template <typename T>
void check_cross_entropy(const Kernels<T>& k, bool with_bias, double smoothing, float scale) {
  const Tensor logits = random<T>({kWidth}, 1, 5), bias = f32({kWidth}, 2);
  const Tensor shift = with_bias ? exact(bias) : at::zeros({kWidth}, at::kDouble);
  for (const Int target :
       {Int{0}, Int{40}, kWidth - 1, exact(logits).add(shift).argmax().item<Int>()}) {
    const Tensor at = (exact(logits) + shift).requires_grad_(), changed = logits.clone();
    const Tensor loss = at::cross_entropy_loss(at.view({1, kWidth}), at::tensor({target}), {},
                                               at::Reduction::Mean, -100, smoothing);
    const RowLoss row =
        k.smoothed_cross_entropy(data<T>(changed), with_bias ? data<float>(bias) : nullptr, kWidth,
                                 target, static_cast<float>(smoothing), scale);
    EXPECT_NEAR(row.loss, loss.item<double>(), 3e-5);
    EXPECT_EQ(row.best, target == at.argmax().item<Int>());
    const Tensor expected = gradient(loss, at, at::tensor(static_cast<double>(scale)));
    if (scale == 0) EXPECT_TRUE(changed.equal(logits));
    if (scale != 0) expect_close<T>(changed, expected, "gradient");
  }
}

TEST(KernelTables, CrossEntropy) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    for (const bool with_bias : {false, true}) {
      check_cross_entropy(k, with_bias, 0.0, 1.0f);
      check_cross_entropy(k, with_bias, 0.1, 0.5f);
      check_cross_entropy(k, with_bias, 0.1, 0.0f);
    }
    const Tensor logits = random<T>({kWidth}, 1, 5), same = logits.clone();
    const float loss = k.cross_entropy(data<T>(logits), kWidth, 7);
    EXPECT_EQ(loss, k.smoothed_cross_entropy(data<T>(same), nullptr, kWidth, 7, 0.0f, 1.0f).loss);
    EXPECT_TRUE(logits.equal(same));
  });
}

TEST(KernelTables, CrossEntropyOfNanIsNan) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    for (const Int at : {Int{0}, Int{50}, kWidth - 1}) {
      const Tensor logits = random<T>({kWidth}, 1);
      logits[at] = NAN;
      EXPECT_TRUE(std::isnan(k.cross_entropy(data<T>(logits), kWidth, 7))) << at;
    }
  });
}

TEST(KernelTables, LogSumExp) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    const Tensor x = random<T>({kWidth}, 1, 6) - 300;
    EXPECT_NEAR(k.log_sum_exp(data<T>(x), kWidth), exact(x).logsumexp(0).item<double>(), 1e-4);
    x.narrow(0, 0, 20).fill_(-INFINITY);
    EXPECT_NEAR(k.log_sum_exp(data<T>(x), kWidth), exact(x).logsumexp(0).item<double>(), 1e-4);
  });
}

template <typename T>
void check_linear(const Kernels<T>& k, Int rows, Int outs, Int width) {
  const Tensor x = random<T>({rows, width}, 1), weight = random<T>({outs, width}, 2, 0.3);
  const Tensor expected = exact(x).mm(exact(weight).t());
  const double units = sizeof(T) == 4 ? 20 : 1;  // f32: sums of `width` terms
  const Int cut = outs / 3, stride = outs + 2;
  const Tensor value = at::ones({rows, stride}, x.dtype()), wide = at::ones({rows, stride}),
               sum = at::ones({rows, stride});
  for (const auto& [store, y] :
       {std::pair{Store::value, value}, {Store::value_f32, wide}, {Store::add_f32, sum}}) {
    k.linear(data<T>(x), rows, width, data<T>(weight), 0, cut, store, y.data_ptr(), stride);
    k.linear(data<T>(x), rows, width, data<T>(weight), cut, outs, store, y.data_ptr(), stride);
    EXPECT_TRUE((y.narrow(1, outs, 2) == 1).all().template item<bool>()) << "behind the outs";
  }
  expect_close<T>(value.narrow(1, 0, outs), expected, "value", units);
  expect_close<float>(wide.narrow(1, 0, outs), expected, "value_f32", 20);
  expect_close<float>(sum.narrow(1, 0, outs), 1 + expected, "add_f32", 20);
}

TEST(KernelTables, Linear) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    check_linear(k, 1, 4, 1);
    check_linear(k, 1, 50, 96);
    check_linear(k, 17, 11, 31);
    check_linear(k, 33, 75, 45);
    check_linear(k, 50, 32, 64);
  });
}

// Every row alone equals the row in the batch, bit for bit.
TEST(KernelTables, LinearRowsDoNotDependOnEachOther) {
  on_every_table([]<typename T>(const Kernels<T>& k) {
    const Int rows = 37, outs = 41, width = 75;
    const Tensor x = random<T>({rows, width}, 1), weight = random<T>({outs, width}, 2);
    const Tensor all = at::empty({rows, outs}), alone = at::empty({outs});
    k.linear(data<T>(x), rows, width, data<T>(weight), 0, outs, Store::value_f32, all.data_ptr(),
             outs);
    for (Int row = 0; row < rows; ++row) {
      k.linear(data<T>(x) + row * width, 1, width, data<T>(weight), 0, outs, Store::value_f32,
               alone.data_ptr(), outs);
      EXPECT_TRUE(alone.equal(all[row])) << row;
    }
  });
}

}  // namespace
}  // namespace blip2
