#include "blip2/qformer/qformer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/nn/kernels/kernels.h"
#include "blip2/qformer/layer_functions_internal.h"
#include "blip2/qformer/packed_rows.h"
#include "blip2/qformer/threads.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

QFormerConfig tiny() {
  QFormerConfig config;
  config.vocab_size = 20;
  config.hidden_size = 12;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 2;
  config.intermediate_size = 16;
  config.max_position_embeddings = 8;
  config.encoder_hidden_size = 10;
  config.use_qformer_text_input = true;
  return config;
}

TextRows text_of(std::vector<std::int64_t> ids, std::vector<std::int64_t> lengths) {
  return {at::tensor(ids, at::kLong), std::move(lengths)};
}

float largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<float>();
}

TEST(QFormerConfig, ReadsHuggingFacesKeysBothWays) {
  const auto json = nlohmann::json::parse(
      R"({"model_type": "blip_2_qformer", "hidden_act": "gelu", "hidden_size": 24, "pad_token_id": 0})");
  const QFormerConfig config = read_qformer_config(json, "config");
  EXPECT_EQ(config.hidden_size, 24);
  EXPECT_EQ(config.num_hidden_layers, 12);
  EXPECT_EQ(write_qformer_config(read_qformer_config(write_qformer_config(config), "again")),
            write_qformer_config(config));
}

TEST(QFormerConfig, RefusesWhatCannotBe) {
  const auto reading = [](const char* text) {
    return [text] { read_qformer_config(nlohmann::json::parse(text), "config.json"); };
  };
  EXPECT_THAT(reading(R"({"hidden_sise": 24})"), ThrowsMessage<Error>(HasSubstr("hidden_size")));
  EXPECT_THAT(reading(R"({"hidden_size": 25})"), ThrowsMessage<Error>(HasSubstr("no multiple")));
  EXPECT_THAT(reading(R"({"hidden_act": "relu"})"), ThrowsMessage<Error>(HasSubstr("relu")));
  EXPECT_THAT(reading(R"({"cross_attention_frequency": 0})"),
              ThrowsMessage<Error>(HasSubstr("cross_attention_frequency")));
  EXPECT_THAT(reading(R"({"num_hidden_layers": 99999999999})"),
              ThrowsMessage<Error>(HasSubstr("num_hidden_layers")));
  EXPECT_THAT(reading(R"({"hidden_dropout_prob": 1.0})"),
              ThrowsMessage<Error>(HasSubstr("hidden_dropout_prob")));
}

TEST(TextRows, PacksAndPads) {
  const at::Tensor ids = at::tensor({5, 6, 7, 8, 0, 0}, at::kLong).view({2, 3});
  const TextRows rows = pack_text(ids, {3, 1});
  EXPECT_TRUE(rows.ids.equal(at::tensor({5, 6, 7, 8}, at::kLong)));
  EXPECT_TRUE(pad_rows(rows.ids, rows.lengths).equal(ids));
  EXPECT_THROW(pack_text(ids, {3, 0}), Error);
  EXPECT_THROW(pack_text(ids, {3, 4}), Error);
  EXPECT_THROW(pack_text(ids, {3}), Error);
}

// One query, one key: the value itself. Two equal keys: the mean of their values.
TEST(Attention, TinyCasesByHand) {
  const at::Tensor queries = at::tensor({1.0f, 2.0f}).view({1, 2});
  const at::Tensor keys = at::tensor({3.0f, 1.0f, 10.0f, 20.0f, 3.0f, 1.0f, 30.0f, 40.0f});
  const auto attend = [&](int count) {
    const std::vector<AttentionSegment> segments{{.q_begin = 0,
                                                  .q_count = 1,
                                                  .o_begin = 0,
                                                  .a_begin = 0,
                                                  .a_count = count,
                                                  .b_begin = 0,
                                                  .b_count = 0,
                                                  .causal = false,
                                                  .external = false}};
    return cross_attention(queries, keys.view({2, 4}), segments, 1, 1, {});
  };
  EXPECT_TRUE(attend(1).allclose(at::tensor({10.0f, 20.0f}).view({1, 2})));
  EXPECT_TRUE(attend(2).allclose(at::tensor({20.0f, 30.0f}).view({1, 2})));
}

TEST(AddNorm, TinyCaseByHand) {
  // (1, -1) + bias (2, 0) + residual (1, 1) = (4, 0): mean 2, deviation 2, so (1, -1) * 3 + 1.
  const at::Tensor y =
      add_norm(at::tensor({1.0f, -1.0f}).view({1, 2}), at::tensor({2.0f, 0.0f}),
               at::tensor({1.0f, 1.0f}).view({1, 2}), {.source = {}, .identity = true},
               Norm(at::tensor({3.0f, 3.0f}), at::tensor({1.0f, 1.0f}), 0), {});
  EXPECT_TRUE(y.allclose(at::tensor({4.0f, -2.0f}).view({1, 2})));
}

TEST(Gelu, MatchesTheErrorFunction) {
  const at::Tensor x = at::linspace(-9, 9, 361).view({1, -1}).requires_grad_();
  const at::Tensor bias = at::zeros({361});
  const at::Tensor y = gelu_of(x, bias), expected = at::gelu(x);
  EXPECT_LT(largest_difference(y, expected), 3e-6);
  const auto gradient = [&x](const at::Tensor& of) {
    return torch::autograd::grad({of.sum()}, {x})[0];
  };
  EXPECT_LT(largest_difference(gradient(y), gradient(expected)), 3e-6);
}

TEST(CrossEntropy, MatchesPyTorchAndReplacesLogitsByTheGradient) {
  const at::Tensor logits = at::linspace(-3, 4, 50).sin() * 5;
  const at::Tensor wanted = logits.clone().view({1, 50}).requires_grad_();
  const at::Tensor loss =
      at::cross_entropy_loss(wanted, at::tensor({7}, at::kLong), {}, 1, -100, 0.1);
  loss.backward();
  at::Tensor ours = logits.clone();
  const RowLoss row = kernels<float>().smoothed_cross_entropy(ours.mutable_data_ptr<float>(),
                                                              nullptr, 50, 7, 0.1f, 1.0f);
  EXPECT_NEAR(row.loss, loss.item<float>(), 1e-5);
  EXPECT_FALSE(row.best);
  EXPECT_LT(largest_difference(ours, wanted.grad()[0]), 1e-6);
}

TEST(Plan, EqualRowsAreComputedOnce) {
  // Text 0 with pictures 0 and 1: one self-attention in layer 0, two after the pictures were read;
  // the last layer's text is wanted by nobody.
  const std::vector<PassRow> rows{{.image = 0, .text = 0}, {.image = 1, .text = 0}};
  const PackedRows packed = pack_rows(rows, {.layers = 2,
                                             .cross_attention_frequency = 2,
                                             .queries = 3,
                                             .positions = 5,
                                             .text_lengths = {4}});
  EXPECT_EQ(packed.layers[0].self_query_rows, 3);
  EXPECT_EQ(packed.layers[0].query_rows, 6);
  EXPECT_EQ(packed.layers[0].text_rows, 4);
  EXPECT_EQ(packed.layers[1].self_query_rows, 6);
  EXPECT_EQ(packed.layers[1].text_rows, 0);
  EXPECT_THAT(packed.query_blocks, ElementsAre(0, 3));
}

TEST(QFormer, ARowDoesNotDependOnItsNeighbours) {
  const QFormer model(tiny(), 3);
  const at::NoGradGuard no_grad;
  const QFormerPass pass = model.pass();
  const at::Tensor tokens = random_query_tokens(2, 12, 5), features = at::randn({3, 4, 10});
  const ImageKeysValues all = pass.project_image(features);
  const TextRows text = text_of({1, 2, 3, 4, 5, 6}, {2, 3, 1});
  const at::Tensor joint =
      pass.encode_multimodal(tokens, all, text, {{0, 1, 2, 1}, {2, 1, 0, 2}}).queries;
  const ImageKeysValues one = pass.project_image(features.narrow(0, 1, 1));
  const at::Tensor alone =
      pass.encode_multimodal(tokens, one, text_of({6}, {1}), {{0}, {0}}).queries;
  EXPECT_LT(largest_difference(joint[3], alone[0]), 1e-5);
  EXPECT_LT(largest_difference(pass.encode_text(text).narrow(0, 5, 1),
                               pass.encode_text(text_of({6}, {1}))),
            1e-5);
}

TEST(QFormer, FeatureNormIsThatOfTheFeatures) {
  const QFormer model(tiny(), 3);
  const QFormerPass pass = model.pass();
  const at::Tensor features = at::randn({2, 4, 10}), weight = at::randn({10}),
                   bias = at::randn({10});
  const at::Tensor normal = at::layer_norm(features, {10}, weight, bias, 1e-6);
  EXPECT_LT(largest_difference(pass.project_image(features, {weight, bias, 1e-6}).layers[2],
                               pass.project_image(normal).layers[2]),
            1e-5);
}

TEST(QFormer, DropoutIsAFunctionOfTheSeed) {
  const QFormer model(tiny(), 3);
  const at::Tensor tokens = random_query_tokens(2, 12, 5), features = at::randn({3, 4, 10});
  const auto hidden = [&](std::uint64_t seed, bool training) {
    const QFormerPass pass = model.pass({.type = at::kFloat, .training = training, .seed = seed});
    return pass.encode_queries(tokens, pass.project_image(features)).hidden;
  };
  EXPECT_TRUE(hidden(1, true).equal(hidden(1, true)));
  EXPECT_FALSE(hidden(1, true).equal(hidden(2, true)));
  EXPECT_TRUE(hidden(1, false).equal(hidden(2, false)));
}

// With dropout the same masks are used forward and backward: a finite difference tells.
TEST(QFormer, DropoutsGradientIsThatOfItsLoss) {
  QFormerConfig config = tiny();
  config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.3;
  const QFormer model(config, 3);
  const at::Tensor features = at::randn({2, 4, 10});
  const at::Tensor tokens = random_query_tokens(2, 12, 5, 1.0), weights = at::randn({2, 2, 12});
  const auto loss = [&](const at::Tensor& queries) {
    const QFormerPass pass = model.pass({.type = at::kFloat, .training = true, .seed = 9});
    return (pass.encode_queries(queries, pass.project_image(features)).hidden * weights).sum();
  };
  const at::Tensor gradient = torch::autograd::grad({loss(tokens)}, {tokens})[0];
  const at::NoGradGuard no_grad;
  const at::Tensor direction = at::randn_like(tokens) * 5e-3;
  const double slope = (loss(tokens + direction) - loss(tokens - direction)).item<double>() / 2;
  const double expected = (gradient * direction).sum().item<double>();
  EXPECT_NEAR(slope, expected, 0.03 * std::abs(expected) + 1e-4);
}

TEST(QFormer, RefusesBadInput) {
  const QFormer model(tiny(), 3);
  const QFormerPass pass = model.pass();
  const at::Tensor tokens = random_query_tokens(2, 12, 5);
  EXPECT_THAT(
      [&] {
        pass.project_image(at::zeros({1, 4, 11}));
      },
      ThrowsMessage<Error>(HasSubstr("[B, P, 10]")));
  EXPECT_THAT(
      [&] {
        pass.encode_text(text_of({1, 20}, {2}));
      },
      ThrowsMessage<Error>(HasSubstr("ids of 0 to 19, got 20")));
  EXPECT_THAT(
      [&] {
        pass.encode_text(text_of({1, -1}, {2}));
      },
      ThrowsMessage<Error>(HasSubstr("got -1")));
  EXPECT_THAT(
      [&] {
        pass.encode_text({at::ones({9}, at::kLong), {9}});
      },
      ThrowsMessage<Error>(HasSubstr("1 to 8 tokens")));
  const ImageKeysValues images = pass.project_image(at::zeros({1, 4, 10}));
  EXPECT_THAT(
      [&] {
        pass.encode_queries(at::zeros({1, 2, 13}), images);
      },
      ThrowsMessage<Error>(HasSubstr("[1, Q, 12]")));
  EXPECT_THAT(
      [&] {
        pass.encode_multimodal(tokens, images, text_of({1}, {1}), {{1}, {0}});
      },
      ThrowsMessage<Error>(HasSubstr("picture")));
  EXPECT_THAT([&] { model.pass({.type = at::kHalf}); }, ThrowsMessage<Error>(HasSubstr("bf16")));
}

}  // namespace
}  // namespace blip2
