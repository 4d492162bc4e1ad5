#include "blip2/nn/low_rank.h"

#include <gtest/gtest.h>

#include <limits>

#include "blip2/nn/kernels/kernels.h"
#include "blip2/nn/linear.h"

namespace blip2 {
namespace {

using Seed = std::optional<std::uint64_t>;

at::Tensor drawn(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed));
}

// Adapters of rank 3 beside the second and the third of three matrices over rows of 20.
struct Beside {
  explicit Beside(double probability = 0)
      : dropout(std::make_shared<LowRankDropout>(LowRankDropout{probability, std::nullopt})) {
    for (const std::int64_t outs : {9, 4, 11}) {
      const auto seed = static_cast<std::uint64_t>(outs);
      linear.parts.push_back({drawn({outs, 20}, seed), drawn({outs}, seed + 1)});
    }
    LowRank added(0.5, dropout);
    added.parts = {
        {9, drawn({3, 20}, 21).requires_grad_(), drawn({4, 3}, 22).requires_grad_(), 0},
        {13, drawn({3, 20}, 23).requires_grad_(), drawn({11, 3}, 24).requires_grad_(), 3 * 24}};
    low_rank = std::make_shared<LowRank>(added);
  }

  // The layer with its additions, by plain products.
  at::Tensor expected(const at::Tensor& x) const {
    std::vector<at::Tensor> weights, biases;
    for (const Linear::Part& part : linear.parts) {
      weights.push_back(part.weight), biases.push_back(part.bias);
    }
    for (std::size_t i = 0; i < 2; ++i) {
      const auto& [begin, a, b, place] = low_rank->parts[i];
      weights[i + 1] = weights[i + 1] + 0.5 * at::mm(b, a);
    }
    return at::linear(x, at::cat(weights), at::cat(biases));
  }

  Linear linear;
  std::shared_ptr<LowRankDropout> dropout;
  std::shared_ptr<LowRank> low_rank;
};

// How a pass without autograd computes: padded rows, of which the last two are arbitrary.
struct Pass {
  Pass(const Beside& beside, const at::Tensor& x, const at::Tensor& dy) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto padded = [](const at::Tensor& rows) {
      const at::Tensor all = at::full({rows.size(0) + 2, rows.size(1)},
                                      std::numeric_limits<float>::quiet_NaN(), rows.options());
      all.narrow(0, 0, rows.size(0)).copy_(rows);
      return all;
    };
    const at::Tensor in = padded(x);
    at::Tensor out = at::empty({in.size(0), dy.size(1)}, x.options()), gradient = padded(dy);
    at::Tensor back = at::empty_like(in);
    LowRankTape tape;
    beside.linear.multiply_into(in, out);
    beside.low_rank->add_into(in, out, x.size(0), &tape);
    tape.gradients = at::zeros({3 * (24 + 31)});
    const Seed after = std::exchange(beside.dropout->seed, std::nullopt);
    beside.linear.gradient_into(gradient, back);
    beside.low_rank->gradient_into(gradient, back, x.size(0), tape);
    beside.dropout->seed = after;
    y = out.narrow(0, 0, x.size(0));
    dx = back.narrow(0, 0, x.size(0));
    gradients = tape.gradients;
  }
  at::Tensor y, dx, gradients;
};

at::Tensor all_gradients(const LowRank& low_rank) {
  std::vector<at::Tensor> rows;
  for (const LowRank::Part& part : low_rank.parts) {
    rows.push_back(part.a.grad().reshape({-1}));
    rows.push_back(part.b.grad().reshape({-1}));
  }
  return at::cat(rows);
}

TEST(LowRank, AddsTheProductOfItsMatrices) {
  Linear linear(at::tensor({1.0f, 2.0f, 3.0f, 4.0f}).view({2, 2}));
  LowRank added(2, std::make_shared<LowRankDropout>());
  added.parts = {{1, at::tensor({1.0f, 1.0f}).view({1, 2}), at::tensor({5.0f}).view({1, 1})}};
  linear.low_rank = std::make_shared<LowRank>(added);
  const at::Tensor x = at::tensor({1.0f, 2.0f}).view({1, 2});
  const at::Tensor expected = at::tensor({5.0f, 11.0f + 2 * 5 * 3}).view({1, 2});
  EXPECT_TRUE(linear(x).equal(expected));
  EXPECT_TRUE(linear.each_row(x).equal(expected));
  EXPECT_FALSE(linear.trains());
  EXPECT_EQ(linear.bytes(), 4 * (4 + 2 + 1));
}

TEST(LowRank, EveryProductHasTheAddition) {
  for (const MatrixForm form : {MatrixForm::stored, MatrixForm::joined, MatrixForm::int8}) {
    Beside beside;
    const at::Tensor x = drawn({7, 20}, 1), exact = beside.expected(x).detach();
    beside.linear.hold(form);
    beside.linear.low_rank = beside.low_rank;
    const at::NoGradGuard no_grad;
    const double near = form == MatrixForm::int8 ? 0.2 : 1e-4;
    EXPECT_LT((beside.linear(x) - exact).abs().max().item<double>(), near);
    EXPECT_LT((beside.linear.frozen(x) - exact).abs().max().item<double>(), near);
    const at::Tensor rows = beside.linear.each_row(x);
    EXPECT_LT((rows - exact).abs().max().item<double>(), near);
    EXPECT_TRUE(beside.linear.each_row(x.narrow(0, 4, 1)).equal(rows.narrow(0, 4, 1)));
    at::Tensor sums = at::ones({7, 24});
    beside.linear.each_row(x.const_data_ptr<float>(), 7, Store::add_f32,
                           sums.mutable_data_ptr<float>(), 24);
    EXPECT_TRUE(at::allclose(sums - 1, rows, 1e-4, 1e-4));
    beside.linear.each_row(x.const_data_ptr<float>(), 7, Store::value_f32,
                           sums.mutable_data_ptr<float>(), 24);
    EXPECT_TRUE(at::allclose(sums, rows, 1e-5, 1e-5));
  }
}

TEST(LowRank, HalfPrecisionIsNearAndStoresAsAsked) {
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    Beside beside;
    const at::Tensor x = drawn({7, 20}, 1), exact = beside.expected(x).detach();
    for (Linear::Part& part : beside.linear.parts) {
      part = {part.weight.to(type), part.bias.to(type)};
    }
    beside.linear.hold(MatrixForm::stored);
    beside.linear.low_rank = beside.low_rank;
    const at::NoGradGuard no_grad;
    const at::Tensor rows = beside.linear.each_row(x.to(type));
    EXPECT_EQ(rows.scalar_type(), type);
    const double near = 0.03 * exact.abs().max().item<double>();
    EXPECT_LT((rows.to(at::kFloat) - exact).abs().max().item<double>(), near);
    EXPECT_LT((beside.linear(x.to(type)).to(at::kFloat) - exact).abs().max().item<double>(), near);
  }
}

TEST(LowRank, APassWithoutAutogradHasAutogradsGradients) {
  for (const double dropout : {0.0, 0.4}) {
    Beside beside(dropout);
    beside.dropout->seed = 77;
    beside.linear.hold(MatrixForm::joined);
    const at::Tensor x = drawn({6, 20}, 3).requires_grad_(), dy = drawn({6, 24}, 4);
    const Pass pass(beside, x.detach(), dy);
    beside.linear.low_rank = beside.low_rank;
    const at::Tensor y = beside.linear(x);
    y.backward(dy);
    EXPECT_TRUE(at::allclose(pass.y, y.detach(), 1e-4, 1e-4));
    EXPECT_TRUE(at::allclose(pass.dx, x.grad(), 1e-4, 1e-4));
    EXPECT_TRUE(at::allclose(pass.gradients, all_gradients(*beside.low_rank), 1e-4, 1e-4));
    // A column of x that is dropped from all rows has no gradient.
    EXPECT_GT((pass.gradients != 0).to(at::kFloat).mean().item<double>(), 0.95);
  }
}

TEST(LowRank, APassInHalfPrecisionIsNear) {
  Beside beside;
  const at::Tensor x = drawn({6, 20}, 3), dy = drawn({6, 24}, 4);
  beside.linear.hold(MatrixForm::joined);
  const Pass exact(beside, x, dy);
  for (Linear::Part& part : beside.linear.parts) {
    part = {part.weight.to(at::kBFloat16), part.bias.to(at::kBFloat16)};
  }
  beside.linear.hold(MatrixForm::joined);
  const Pass pass(beside, x.to(at::kBFloat16), dy.to(at::kBFloat16));
  for (const auto& [ours, theirs] : {std::pair(pass.y, exact.y), std::pair(pass.dx, exact.dx),
                                     std::pair(pass.gradients, exact.gradients)}) {
    EXPECT_LT(((ours.to(at::kFloat) - theirs).abs().max() / theirs.abs().max()).item<double>(),
              0.03);
  }
  EXPECT_EQ(pass.gradients.scalar_type(), at::kFloat);
}

// Each element of x by itself is seen through A and B that are the identity.
TEST(LowRank, DropsTheShareAndKeepsTheMean) {
  const double probability = 0.3;
  const auto dropout =
      std::make_shared<LowRankDropout>(LowRankDropout{probability, std::uint64_t{5}});
  LowRank added(1, dropout);
  added.parts = {{0, at::eye(64), at::eye(64), 0}};
  const at::Tensor x = at::ones({1000, 64}), zeros = at::zeros({1000, 64});
  const at::Tensor seen = added.added(x, zeros);
  const double share = (seen == 0).to(at::kFloat).mean().item<double>();
  EXPECT_NEAR(share, probability, 0.01);
  const at::Tensor kept = seen.masked_select(seen != 0);
  EXPECT_NEAR(kept.min().item<double>(), 1 / 0.7, 1e-5);
  EXPECT_NEAR(kept.max().item<double>(), 1 / 0.7, 1e-5);
  EXPECT_NEAR(seen.mean().item<double>(), 1, 0.02);
  // Neither rows nor columns are dropped together.
  EXPECT_LT(seen.mean(0).std().item<double>(), 0.05);
  EXPECT_LT(seen.mean(1).std().item<double>(), 0.15);
  EXPECT_TRUE(added.added(x, zeros).equal(seen));
  dropout->seed = 6;
  const double same = (added.added(x, zeros) == seen).to(at::kFloat).mean().item<double>();
  EXPECT_NEAR(same, 0.3 * 0.3 + 0.7 * 0.7, 0.02);
  added.parts[0].place = 1;
  dropout->seed = 5;
  EXPECT_FALSE(added.added(x, zeros).equal(seen));
  dropout->seed.reset();
  EXPECT_TRUE(added.added(x, zeros).equal(x));
}

}  // namespace
}  // namespace blip2
