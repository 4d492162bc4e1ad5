#include "blip2/nn/linear.h"

#include <gtest/gtest.h>

#include "blip2/nn/kernels/kernels.h"
#include "blip2/nn/packed_matrix.h"
#include "blip2/nn/padded_rows.h"

namespace blip2 {
namespace {

at::Tensor numbers(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed));
}

// Three matrices over rows of 70, with biases, as a file may have them.
Linear three_parts(at::ScalarType type = at::kFloat) {
  Linear linear;
  for (const std::int64_t outs : {9, 3, 70}) {
    const auto seed = static_cast<std::uint64_t>(outs);
    linear.parts.push_back(
        {numbers({outs, 70}, seed).to(type), numbers({outs}, seed + 100).to(type)});
  }
  return linear;
}

TEST(Linear, IsTheProductWithItsMatrix) {
  const Linear linear(at::tensor({1.0f, 2.0f, 3.0f, 4.0f}).view({2, 2}),
                      at::tensor({10.0f, 20.0f}));
  const at::Tensor x = at::tensor({1.0f, -1.0f}).view({1, 2});
  const at::Tensor expected = at::tensor({9.0f, 19.0f}).view({1, 2});
  EXPECT_TRUE(linear(x).equal(expected));
  EXPECT_TRUE(linear.without_bias(x).equal(at::tensor({-1.0f, -1.0f}).view({1, 2})));
  EXPECT_EQ(linear.ins(), 2);
  EXPECT_EQ(linear.outs(), 2);
}

TEST(Linear, EveryFormOfSeveralPartsIsTheirProducts) {
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor x = numbers({5, 70}, 1).to(type);
    const double near = type == at::kFloat ? 1e-4 : 0.2;
    for (const MatrixForm form : {MatrixForm::stored, MatrixForm::joined, MatrixForm::int8}) {
      Linear linear = three_parts(type);
      std::vector<at::Tensor> weights, biases;
      for (const Linear::Part& part : linear.parts) {
        weights.push_back(part.weight.to(at::kFloat));
        biases.push_back(part.bias.to(at::kFloat));
      }
      at::Tensor weight = at::cat(weights);
      if (form == MatrixForm::int8) {
        const Int8Matrix rounded = to_int8(weight);
        weight = rounded.values.to(at::kFloat) * rounded.scale.unsqueeze(1);
      }
      const at::Tensor exact = at::linear(x.to(at::kFloat), weight, at::cat(biases));
      linear.hold(form);
      EXPECT_EQ(linear.outs(), 82);
      EXPECT_LT((linear(x).to(at::kFloat) - exact).abs().max().item<double>(), near);
      EXPECT_LT((linear.each_row(x).to(at::kFloat) - exact).abs().max().item<double>(), near);
      EXPECT_EQ(linear.parts[2].weight.defined(), form != MatrixForm::int8);
    }
  }
}

TEST(Linear, JoinedPartsStayWhatTheyWere) {
  Linear linear = three_parts();
  const Linear before = three_parts();
  linear.hold(MatrixForm::joined);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(linear.parts[i].weight.equal(before.parts[i].weight));
    EXPECT_TRUE(linear.parts[i].bias.equal(before.parts[i].bias));
  }
}

TEST(Linear, EachRowIsComputedByItselfAndStoredAsAsked) {
  for (const MatrixForm form : {MatrixForm::stored, MatrixForm::joined, MatrixForm::int8}) {
    Linear linear = three_parts();
    linear.hold(form);
    const at::Tensor x = numbers({7, 70}, 2), all = linear.each_row(x);
    EXPECT_TRUE(linear.each_row(x.narrow(0, 4, 1)).equal(all.narrow(0, 4, 1)));
    at::Tensor sums = at::ones({7, 82});
    linear.each_row(x.const_data_ptr<float>(), 7, Store::add_f32, sums.mutable_data_ptr<float>(),
                    82);
    EXPECT_TRUE(at::allclose(sums - 1, all, 1e-5, 1e-5));
  }
}

TEST(Linear, GradientOfItsInputIsAutograds) {
  for (const MatrixForm form : {MatrixForm::stored, MatrixForm::joined, MatrixForm::int8}) {
    Linear linear = three_parts();
    linear.hold(form);
    const at::Tensor x = numbers({6, 70}, 3).requires_grad_(), dy = numbers({6, 82}, 4);
    linear(x).backward(dy);
    const torch::NoGradGuard no_grad;
    at::Tensor dx = at::empty({6, 70});
    linear.gradient_into(dy, dx);
    EXPECT_TRUE(at::allclose(dx, x.grad(), 1e-5, 1e-5));
    at::Tensor y = at::empty({6, 82});
    linear.multiply_into(x, y);
    EXPECT_TRUE(at::allclose(y, linear(x), 1e-5, 1e-5));
  }
}

TEST(Linear, TrainedParametersHaveTheirGradients) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor weight = numbers({5, 8}, 5).requires_grad_(),
                     bias = numbers({5}, 6).requires_grad_();
    const at::Tensor x = numbers({9, 8}, 7).to(type).requires_grad_(),
                     dy = numbers({9, 5}, 8).to(type);
    Linear::trained(weight, bias, type)(x).backward(dy);
    const double near = type == at::kFloat ? 1e-5 : 5e-2;
    EXPECT_LT((weight.grad() - at::mm(dy.t(), x).to(at::kFloat)).abs().max().item<double>(), near);
    EXPECT_LT((bias.grad() - dy.to(at::kFloat).sum(0)).abs().max().item<double>(), 1e-5);
    EXPECT_LT((x.grad() - at::mm(dy, weight.to(type))).abs().max().item<double>(), near);
    EXPECT_EQ(weight.grad().scalar_type(), at::kFloat);
  }
}

TEST(PaddedRows, AreZerosInTheMatrixsOwnMemoryOrInACopy) {
  const auto options = at::TensorOptions(at::kBFloat16);
  const at::Tensor own = padded_empty(5, 3, options).fill_(2);
  const at::Tensor padded = pad_rows(own);
  EXPECT_EQ(padded.const_data_ptr(), own.const_data_ptr());
  EXPECT_EQ(padded.size(0), padded_rows(5));
  EXPECT_EQ(padded.to(at::kFloat).sum().item<float>(), 30);
  // Rows of a larger matrix are followed by its other rows.
  const at::Tensor larger = at::ones({32, 3}, options), first = larger.narrow(0, 0, 5);
  EXPECT_NE(pad_rows(first).const_data_ptr(), larger.const_data_ptr());
  EXPECT_EQ(pad_rows(first).to(at::kFloat).sum().item<float>(), 15);
  EXPECT_EQ(pad_rows(own.t()).to(at::kFloat).sum().item<float>(), 30);
  const at::Tensor exact = at::ones({5, 3});
  EXPECT_TRUE(pad_rows(exact).equal(exact));
  EXPECT_EQ(padded_empty(5, 3, at::TensorOptions(at::kFloat)).numel(), 15);
  const at::Tensor whole = at::ones({64, 3}, options);
  EXPECT_EQ(pad_rows(whole).const_data_ptr(), whole.const_data_ptr());
}

TEST(Linear, RowsOfAnotherTypeAreAnError) {
  EXPECT_THROW(Linear(numbers({4, 4}, 9)).each_row(numbers({1, 4}, 10).to(at::kHalf)), c10::Error);
}

TEST(Linear, PackedIsTheStoredOne) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    Linear stored(numbers({96, 70}, 1).to(type), numbers({96}, 2).to(type)), packed = stored;
    stored.hold(MatrixForm::stored), packed.hold(MatrixForm::packed);
    EXPECT_EQ(packed.bytes() - stored.bytes(), can_pack(stored.weight()) ? 96 * 70 * 2 : 0);
    EXPECT_TRUE(packed.matrix(type).equal(stored.weight()));
    for (const std::int64_t rows : {1, 33, 257}) {
      const at::Tensor x = numbers({rows, 70}, 3).to(type);
      for (const bool with_bias : {true, false}) {
        const at::Tensor expected = stored.frozen(x, with_bias), y = packed.frozen(x, with_bias);
        EXPECT_EQ(y.scalar_type(), type);
        EXPECT_TRUE(at::allclose(y.to(at::kFloat), expected.to(at::kFloat), 0x1p-7, 0.05));
      }
    }
  }
}

TEST(Linear, LeavesOutTheBiasIfAsked) {
  Linear linear(numbers({9, 70}, 1), numbers({9}, 2));
  linear.hold(MatrixForm::stored);
  const at::Tensor x = numbers({5, 70}, 3);
  EXPECT_TRUE(at::allclose(linear.each_row(x, false) + linear.bias_f32(), linear.each_row(x)));
  EXPECT_TRUE(at::allclose(linear.frozen(x, false), linear.each_row(x, false), 1e-5, 1e-5));
}

}  // namespace
}  // namespace blip2
