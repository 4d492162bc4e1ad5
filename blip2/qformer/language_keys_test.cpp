#include "blip2/qformer/language_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/qformer/layer_functions_internal.h"
#include "blip2/qformer/qformer.h"

namespace blip2 {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

QFormerConfig small() {
  QFormerConfig config;
  config.vocab_size = 20;
  config.hidden_size = 12;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 2;
  config.intermediate_size = 16;
  config.max_position_embeddings = 8;
  config.encoder_hidden_size = 10;
  config.use_qformer_text_input = true;
  config.initializer_range = 0.3;
  return config;
}

float farthest(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<float>();
}

TEST(QFormerConfig, LanguageIsReadBesideTheImageOnly) {
  const auto reading = [](const char* text) {
    return [text] { read_qformer_config(nlohmann::json::parse(text), "config.json"); };
  };
  EXPECT_THAT(reading(R"({"encoder_reads": ["image", "langauge"], "language_hidden_size": 8})"),
              ThrowsMessage<Error>(AllOf(HasSubstr("config.json: encoder_reads"),
                                         HasSubstr("did you mean \"language\""))));
  EXPECT_THAT(reading(R"({"encoder_reads": ["image", "image"]})"),
              ThrowsMessage<Error>(HasSubstr("\"image\" stands there twice")));
  EXPECT_THAT(reading(R"({"encoder_reads": ["language"], "language_hidden_size": 8})"),
              ThrowsMessage<Error>(HasSubstr("expected \"image\"")));
  EXPECT_THAT(reading(R"({"encoder_reads": []})"), ThrowsMessage<Error>(HasSubstr("image")));
  EXPECT_THAT(reading(R"({"encoder_reads": ["image", "language"]})"),
              ThrowsMessage<Error>(HasSubstr("language_hidden_size: expected 1 to")));
  EXPECT_THAT(reading(R"({"language_hidden_size": 8})"),
              ThrowsMessage<Error>(HasSubstr("language_hidden_size: expected 0")));
  const nlohmann::json plain = write_qformer_config(small());
  EXPECT_FALSE(plain.contains("encoder_reads") || plain.contains("language_hidden_size"));
  QFormerConfig reads = small();
  reads.encoder_reads = {"language", "image"};
  reads.language_hidden_size = 8;
  const nlohmann::json written = write_qformer_config(reads);
  EXPECT_EQ(written["encoder_reads"], nlohmann::json({"language", "image"}));
  EXPECT_TRUE(read_qformer_config(written, "again").reads_language());
}

// A picture's key and a text's key that are equal: the mean of both values, in one softmax.
TEST(Attention, KeysOfBothKindsShareOneSoftmax) {
  const at::Tensor queries = at::tensor({1.0f, 2.0f}).view({1, 2});
  const at::Tensor image = at::tensor({3.0f, 1.0f, 10.0f, 20.0f}).view({1, 4});
  const at::Tensor language = at::tensor({9.0f, 9.0f, 0.0f, 0.0f, 3.0f, 1.0f, 30.0f, 40.0f});
  const std::vector<AttentionSegment> segments{{.q_begin = 0,
                                                .q_count = 1,
                                                .o_begin = 0,
                                                .a_begin = 0,
                                                .a_count = 1,
                                                .b_begin = 1,
                                                .b_count = 1,
                                                .causal = false,
                                                .external = true}};
  const at::Tensor y = cross_attention(queries, language.view({2, 4}), image, segments, 1, 1, {});
  EXPECT_TRUE(y.allclose(at::tensor({20.0f, 30.0f}).view({1, 2})));
}

// A Q-Former that reads some positions as a picture's and some as a language model's states, by
// equal weights, computes what one does that reads them all as a picture's.
class ReadsLanguage : public ::testing::Test {
 protected:
  static QFormerConfig config() {
    QFormerConfig config = small();
    config.encoder_reads = {kReadsImage, kReadsLanguage};
    config.language_hidden_size = config.encoder_hidden_size;
    return config;
  }
  ReadsLanguage() {
    const at::NoGradGuard no_grad;
    for (auto& item : qformer_.named_parameters()) {
      std::string name = item.key();
      const auto at = name.find("language_");
      if (at == std::string::npos) continue;
      name.erase(at, std::string("language_").size());
      item.value().copy_(qformer_.named_parameters()[name]);
    }
  }
  // Hidden queries, and the gradient of the weights that project values of either kind.
  struct Outcome {
    at::Tensor hidden, gradient;
  };
  Outcome outcome(const at::Tensor& hidden) {
    qformer_.zero_grad();
    // Not the sum of squares, which a norm makes the same for all weights.
    (hidden * at::arange(hidden.numel()).view_as(hidden).cos()).sum().backward();
    const auto& key = *qformer_.layer(0).crossattention->attention;
    at::Tensor sum = key.value->weight.grad().clone();
    if (key.language_value->weight.grad().defined()) sum += key.language_value->weight.grad();
    return {hidden.detach(), sum};
  }

  QFormer qformer_{config(), 5};
  at::Tensor tokens_ = random_query_tokens(2, 12, 3);
  Norm norm_{at::rand({10}) + 0.5, at::rand({10}), 1e-5};
  at::Tensor features_ = at::randn({2, 7, 10});
};

TEST_F(ReadsLanguage, AsIfItWereMoreOfThePicture) {
  for (const bool with_text : {false, true}) {
    const QFormerPass pass = qformer_.pass(), again = qformer_.pass();
    const TextRows text{at::tensor({1, 2, 3, 4, 5}, at::kLong), {3, 2}};
    const Pairs pairs{{0, 1}, {0, 1}};
    const auto images = pass.project_image(features_, norm_);
    const auto part = again.project_image(features_.narrow(1, 0, 4), norm_);
    const auto language =
        again.project_language({features_.narrow(1, 4, 3).flatten(0, 1), {3, 3}}, norm_);
    const Outcome whole =
        outcome(with_text ? pass.encode_multimodal(tokens_, images, text, pairs).queries
                          : pass.encode_queries(tokens_, images).hidden);
    const Outcome parts = outcome(
        with_text ? again.encode_multimodal(tokens_, part, text, pairs, false, &language).queries
                  : again.encode_queries(tokens_, part, &language).hidden);
    EXPECT_LT(farthest(whole.hidden, parts.hidden), 1e-5f);
    EXPECT_LT(farthest(whole.gradient, parts.gradient),
              1e-4f * whole.gradient.abs().max().item<float>());
  }
}

TEST_F(ReadsLanguage, EachPictureReadsTheStatesOfItsOwnText) {
  const QFormerPass pass = qformer_.pass();
  const at::NoGradGuard no_grad;
  const auto images = pass.project_image(features_, norm_);
  const at::Tensor states = at::randn({4, 10});
  const auto hidden = [&](const at::Tensor& rows, std::vector<std::int64_t> lengths) {
    const auto language = pass.project_language({rows, std::move(lengths)}, norm_);
    return pass.encode_queries(tokens_, images, &language).hidden;
  };
  const at::Tensor both = hidden(states, {1, 3});
  const at::Tensor first = hidden(states.narrow(0, 0, 1), {1, 0});
  EXPECT_LT(farthest(both[0], first[0]), 1e-5f);
  EXPECT_GT(farthest(both[1], first[1]), 1e-3f);
  // A text without states leaves the picture alone, beside other texts or all alone.
  const at::Tensor alone = pass.encode_queries(tokens_, images).hidden;
  EXPECT_LT(farthest(first[1], alone[1]), 1e-5f);
  EXPECT_TRUE(at::equal(hidden(at::empty({0, 10}), {0, 0}), alone));
}

TEST_F(ReadsLanguage, RefusesStatesThatDoNotFit) {
  const QFormerPass pass = qformer_.pass();
  EXPECT_THAT(
      [&] {
        pass.project_language({at::randn({2, 9}), {2}}, norm_);
      },
      ThrowsMessage<Error>(HasSubstr("expected a language model's states [2, 10]")));
  const auto images = pass.project_image(features_, norm_);
  const auto one = pass.project_language({at::randn({2, 10}), {2}}, norm_);
  EXPECT_THAT([&] { pass.encode_queries(tokens_, images, &one); },
              ThrowsMessage<Error>(HasSubstr("states of 2 texts, got 1")));
  const QFormer plain(small(), 1);
  EXPECT_THAT(
      [&] {
        plain.pass().project_language({at::randn({2, 10}), {2}}, norm_);
      },
      ThrowsMessage<Error>(HasSubstr("does not read a language model's states")));
}

}  // namespace
}  // namespace blip2
