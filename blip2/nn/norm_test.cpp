#include "blip2/nn/norm.h"

#include <gtest/gtest.h>

namespace blip2 {
namespace {

at::Tensor values_of(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed));
}

Norm norm_of(Norm::Kind kind, std::int64_t width) {
  const bool layer = kind == Norm::Kind::layer;
  Norm norm(values_of({width}, 1), layer ? values_of({width}, 2) : at::Tensor(), 1e-5, kind);
  norm.widen();
  return norm;
}

constexpr Norm::Kind kKinds[] = {Norm::Kind::layer, Norm::Kind::rms};

TEST(Norm, DividesByDeviationOrRootMeanSquare) {
  const at::Tensor x = at::tensor({1.0f, 7.0f}).view({1, 2}), weight = at::tensor({2.0f, 3.0f});
  Norm layer(weight, at::tensor({1.0f, 0.0f}), 0, Norm::Kind::layer);  // mean 4, deviation 3
  Norm rms(weight, {}, 0, Norm::Kind::rms);                            // root of 25
  Norm one_more(weight, {}, 0, Norm::Kind::rms);
  one_more.one_plus = true;
  for (Norm* norm : {&layer, &rms, &one_more}) norm->widen();
  const auto is = [&](const Norm& norm, float first, float second) {
    const at::Tensor expected = at::tensor({first, second}).view({1, 2});
    EXPECT_TRUE(at::allclose(norm(x), expected));
    EXPECT_TRUE(at::allclose(norm.each_row(x, at::kFloat), expected));
  };
  is(layer, -1, 3);
  is(rms, 0.4f, 4.2f);
  is(one_more, 0.6f, 5.6f);
}

TEST(Norm, KernelsAndAtenAgree) {
  for (const Norm::Kind kind : kKinds) {
    const Norm norm = norm_of(kind, 37);
    const at::Tensor x = values_of({6, 37}, 3).requires_grad_(), dy = values_of({6, 37}, 4);
    const at::Tensor y = norm(x);
    y.backward(dy);
    EXPECT_TRUE(at::allclose(norm.each_row(x, at::kFloat), y, 1e-5, 1e-5));
    at::Tensor dx = at::ones({6, 37});
    norm.gradient(x.const_data_ptr<float>(), dy.const_data_ptr<float>(),
                  dx.mutable_data_ptr<float>(), 6);
    EXPECT_TRUE(at::allclose(dx - 1, x.grad(), 1e-4, 1e-5));
  }
}

// Three rows of 5 numbers more than two heads of 8: the heads alone change.
TEST(Norm, HeadsAreNormedInPlace) {
  for (const Norm::Kind kind : kKinds) {
    const Norm norm = norm_of(kind, 8);
    const at::Tensor x = values_of({3, 21}, 5);
    const at::Tensor heads = x.narrow(1, 0, 16).reshape({6, 8}).requires_grad_();
    at::Tensor y = x.clone();
    norm.each_head(y.mutable_data_ptr<float>(), 3, 2, 21);
    EXPECT_TRUE(at::allclose(y.narrow(1, 0, 16), norm(heads).view({3, 16}), 1e-5, 1e-5));
    EXPECT_TRUE(y.narrow(1, 16, 5).equal(x.narrow(1, 16, 5)));
    at::Tensor dy = values_of({3, 21}, 6);
    norm(heads).backward(dy.narrow(1, 0, 16).reshape({6, 8}));
    const at::Tensor plain = x.narrow(1, 0, 16).contiguous(), rest = dy.narrow(1, 16, 5).clone();
    norm.head_gradient(plain.const_data_ptr<float>(), 16, dy.mutable_data_ptr<float>(), 3, 2, 21);
    EXPECT_TRUE(at::allclose(dy.narrow(1, 0, 16), heads.grad().view({3, 16}), 1e-4, 1e-5));
    EXPECT_TRUE(dy.narrow(1, 16, 5).equal(rest));
  }
}

TEST(Norm, HalfPrecisionIsTheRoundedResult) {
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const Norm norm = norm_of(Norm::Kind::rms, 37);
    const at::Tensor x = values_of({4, 37}, 7), exact = norm.each_row(x, at::kFloat);
    const double eighth_bit = type == at::kHalf ? 1e-3 : 8e-3;
    const at::Tensor off = (norm.each_row(x, type).to(at::kFloat) - exact).abs();
    EXPECT_TRUE((off <= eighth_bit * exact.abs() + 1e-6).all().item<bool>());
  }
}

}  // namespace
}  // namespace blip2
