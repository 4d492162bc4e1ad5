#include "blip2/qformer/qformer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/io/safetensors.h"
#include "blip2/nn/kernels/kernels.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/qformer/layer_functions_internal.h"
#include "blip2/qformer/packed_rows.h"
#include "blip2/qformer/threads.h"

namespace blip2 {
namespace {

using ::testing::AllOf;
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
    return cross_attention(queries, keys.view({2, 4}), {}, segments, 1, 1, {});
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
                                             .positions = {5, 5},
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

// Pictures with different numbers of positions: each gives what it gives alone, forward and
// backward, and what it gives with masked positions after its own.
TEST(QFormer, PicturesOfAnyAspectKeepToThemselves) {
  const QFormer model(tiny(), 3);
  const QFormerPass pass = model.pass();
  const at::Tensor tokens = random_query_tokens(2, 12, 5);
  const std::vector<std::int64_t> counts{4, 1, 9};
  const at::Tensor rows = at::randn({14, 10}).requires_grad_();
  const ImageKeysValues all = pass.project_image(ImageFeatures(rows, counts));
  EXPECT_EQ(all.images(), 3);
  const at::Tensor hidden = pass.encode_queries(tokens, all).hidden;  // [3, 2, 12]
  const TextRows text = text_of({1, 2, 3}, {2, 1});
  const at::Tensor joint =
      pass.encode_multimodal(tokens, all, text, {{2, 0, 1}, {0, 1, 1}}).queries;
  const at::Tensor weight = at::randn(hidden.sizes());
  const at::Tensor gradient = torch::autograd::grad({(hidden * weight).sum()}, {rows})[0];
  const Pairs pairs{{0}, {0}};
  std::int64_t first = 0;
  for (std::int64_t i = 0; i < 3; ++i) {
    const std::int64_t count = counts[static_cast<std::size_t>(i)];
    const at::Tensor own = rows.detach().narrow(0, first, count).clone().requires_grad_();
    const ImageKeysValues one = pass.project_image(own.unsqueeze(0));
    const at::Tensor alone = pass.encode_queries(tokens, one).hidden;
    EXPECT_LT(largest_difference(alone[0], hidden[i]), 1e-5);
    const at::Tensor own_gradient =
        torch::autograd::grad({(alone * weight.narrow(0, i, 1)).sum()}, {own})[0];
    EXPECT_LT(largest_difference(own_gradient, gradient.narrow(0, first, count)), 1e-5);
    EXPECT_GT(own_gradient.abs().max().item<double>(), 1e-3);
    const TextRows its = i == 2 ? text_of({1, 2}, {2}) : text_of({3}, {1});
    const at::Tensor both = pass.encode_multimodal(tokens, one, its, pairs).queries;
    EXPECT_LT(largest_difference(both[0], joint[i == 2 ? 0 : i + 1]), 1e-5);
    first += count;
  }
  EXPECT_GT(largest_difference(hidden[0], hidden[1]), 1e-3);
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

// A BERT of the tiny Q-Former's sizes under "bert.", with a pooler that no part has.
std::map<std::string, at::Tensor> tiny_bert() {
  const QFormer model(tiny(), 5);
  std::map<std::string, at::Tensor> bert{{"bert.pooler.dense.weight", at::ones({12, 12})}};
  const std::pair<const char*, std::string> names[] = {
      {"embeddings.position_embeddings.weight", "embeddings.position_embeddings.weight"},
      {"layernorm.weight", "embeddings.LayerNorm.weight"},
      {"layernorm.bias", "embeddings.LayerNorm.bias"}};
  const auto parameters = model.named_parameters();
  for (const auto& [ours, theirs] : names) bert["bert." + theirs] = parameters[ours].detach() + 1;
  bert["bert.embeddings.word_embeddings.weight"] = at::ones({19, 12});
  bert["bert.embeddings.token_type_embeddings.weight"] = at::full({2, 12}, 0.5);
  for (const auto& item : parameters) {
    std::string name = item.key();
    const auto self = name.find("attention.attention.");
    if (!name.starts_with("encoder.") || name.find("cross") != std::string::npos ||
        name.find("_query.") != std::string::npos) {
      continue;
    }
    if (self != std::string::npos) name.replace(self, 20, "attention.self.");
    bert["bert." + name] = item.value().detach() + 1;
  }
  return bert;
}

void start_from(QFormer& model, const std::map<std::string, at::Tensor>& bert) {
  const auto path = std::filesystem::path(::testing::TempDir()) /
                    ("bert_" + std::to_string(::getpid()) + ".safetensors");
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : bert) views.push_back(view_of(name, tensor));
  write_safetensors(path, views);
  const std::shared_ptr<const TensorFile> file = open_tensor_file(path);
  std::filesystem::remove(path);
  model.init_from_bert(file);
}

TEST(QFormer, StartsFromABert) {
  QFormer model(tiny(), 7);
  const QFormer before(tiny(), 7);
  auto bert = tiny_bert();
  start_from(model, bert);
  const auto now = model.named_parameters(), then = before.named_parameters();
  const auto is = [&](const char* ours, const std::string& theirs) {
    return at::equal(now[ours], bert.at("bert." + theirs));
  };
  EXPECT_TRUE(is("layernorm.bias", "embeddings.LayerNorm.bias"));
  EXPECT_TRUE(is("encoder.layer.1.attention.attention.key.weight",
                 "encoder.layer.1.attention.self.key.weight"));
  for (const char* name : {"intermediate_query", "intermediate"}) {
    EXPECT_TRUE(is(("encoder.layer.2." + std::string(name) + ".dense.weight").c_str(),
                   "encoder.layer.2.intermediate.dense.weight"));
  }
  EXPECT_NE(now["encoder.layer.2.intermediate_query.dense.weight"].const_data_ptr(),
            now["encoder.layer.2.intermediate.dense.weight"].const_data_ptr());
  EXPECT_TRUE(at::equal(now["embeddings.position_embeddings.weight"],
                        bert.at("bert.embeddings.position_embeddings.weight") + 0.5));
  const at::Tensor words = now["embeddings.word_embeddings.weight"];
  EXPECT_TRUE(at::equal(words.narrow(0, 0, 19), at::ones({19, 12})));
  for (const char* random : {"encoder.layer.0.crossattention.attention.query.weight",
                             "embeddings.word_embeddings.weight"}) {
    EXPECT_TRUE(at::equal(now[random][-1], then[random][-1])) << random;
  }
  for (const auto& item : now) EXPECT_TRUE(item.value().requires_grad()) << item.key();

  bert.erase("bert.encoder.layer.1.output.dense.bias");
  bert["bert.encoder.layer.0.intermediate.dense.weight"] = at::ones({15, 12});
  EXPECT_THAT([&] { start_from(model, bert); },
              ThrowsMessage<Error>(
                  AllOf(HasSubstr("2 tensors do not fit the Q-Former"),
                        HasSubstr("bert.encoder.layer.1.output.dense.bias: missing"),
                        HasSubstr("bert.encoder.layer.0.intermediate.dense.weight: expected shape "
                                  "[16, 12], got [15, 12]"))));
}

}  // namespace
}  // namespace blip2
