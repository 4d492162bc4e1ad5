#include "blip2/vision/clip_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using ::testing::HasSubstr;
using Ids = std::vector<std::int32_t>;

ClipTextConfig tiny_text() {
  ClipTextConfig c;
  c.vocab_size = 4;
  c.hidden_size = 2;
  c.intermediate_size = c.num_hidden_layers = c.num_attention_heads = 1;
  c.max_position_embeddings = 3;
  c.layer_norm_eps = 1e-12;
  c.eos_token_id = 3;
  return c;
}

// Sets the named parameters; the others are zero.
void fill(ClipTextEncoder& encoder, const std::map<std::string, std::vector<float>>& values) {
  const torch::NoGradGuard no_grad;
  for (auto& item : encoder.named_parameters()) {
    const auto found = values.find(item.key());
    const at::Tensor zeros = at::zeros(item.value().sizes());
    item.value().set_data(
        found == values.end() ? zeros : at::tensor(found->second).view(item.value().sizes()));
  }
}

// Queries and keys are zero, so that a token's attention is the mean of the values of those that it
// sees; 9 times the norm's second channel is taken from the first one. The words are (0, 2), of
// value 9, the end (0.5, 0), of value -9. Norms are of two numbers, so that the result is a sign:
// word end word: the end sees 9 and -9 and stays 0.5, the last norm (1, -1) by (3, 1) is (3, -1);
//   with what follows it would be 0.5 - 3;
// word word end: 0.5 - (9 + 9 - 9) / 3 is less than 0; alone it would be 0.5 + 9.
TEST(ClipTextTest, ATokenSeesThoseBeforeItByHand) {
  ClipTextEncoder encoder(tiny_text());
  std::map<std::string, std::vector<float>> values{
      {"embeddings.token_embedding.weight", {9, 9, 0, 2, 0, 2, 0.5, 0}},
      {"encoder.layers.0.layer_norm1.weight", {1, 1}},
      {"encoder.layers.0.self_attn.v_proj.weight", {0, 9, 0, 0}},
      {"encoder.layers.0.self_attn.out_proj.weight", {-1, 0, 0, 1}},
      {"final_layer_norm.weight", {3, 1}}};
  fill(encoder, values);
  const torch::NoGradGuard no_grad;
  const at::Tensor above = at::tensor({3.f, -1.f}), below = at::tensor({-3.f, 1.f});
  EXPECT_TRUE(at::allclose(encoder.forward(Ids{1, 3, 2}), above, 0, 1e-5));
  EXPECT_TRUE(at::allclose(encoder.forward(Ids{1, 2, 3}), below, 0, 1e-5));
  values["embeddings.position_embedding.weight"] = {0, 0, 0, 0, 9, 0};
  fill(encoder, values);
  EXPECT_TRUE(at::allclose(encoder.forward(Ids{1, 2, 3}), above, 0, 1e-5));
  EXPECT_THROW(encoder.forward(Ids{1, 2, 3, 3}), Error);
  EXPECT_THROW(encoder.forward(Ids{1, 4, 3}), Error);
  EXPECT_THROW(encoder.forward(Ids{1, -1, 3}), Error);
  EXPECT_THROW(encoder.forward(Ids{1, 2}), Error) << "no end token";
}

TEST(ClipTextTest, TheEndIsTheFirstEndTokenOrInOldFilesTheHighestId) {
  const std::array<std::int32_t, 5> ids{7, 9, 2, 9, 8};
  EXPECT_EQ(end_of_text(ids, 9), 1);
  EXPECT_EQ(end_of_text(ids, 8), 4);
  EXPECT_EQ(end_of_text(ids, 2), 1);
  EXPECT_THROW(end_of_text(ids, 5), Error);
  EXPECT_THROW(end_of_text({}, 2), Error);
}

TEST(ClipTextTest, RefusesBrokenConfigurations) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"vocab_size": 0})", "vocab_size"},
      {R"({"vocab_size": 999999999999})", "vocab_size"},
      {R"({"max_position_embeddings": -1})", "max_position_embeddings"},
      {R"({"hidden_size": 6, "num_attention_heads": 4})", "multiple of num_attention_heads"},
      {R"({"hidden_act": "relu"})", "hidden_act"},
      {R"({"model_type": "bert"})", "clip_text_model"},
      {R"({"eos_token_id": "x"})", "eos_token_id"},
      {R"({"hiden_size": 6})", "did you mean 'hidden_size'"},
      {"[]", "expected a table of keys"}};
  for (const auto& [text, message] : cases) {
    try {
      read_clip_text_config(nlohmann::json::parse(text), "c.json");
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(message));
      EXPECT_THAT(error.what(), HasSubstr("c.json"));
    }
  }
  EXPECT_EQ(read_clip_text_config(nlohmann::json::parse(R"({"eos_token_id": 2})"), "").eos_token_id,
            2);
}

}  // namespace
}  // namespace blip2
