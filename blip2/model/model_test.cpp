#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/model/convert.h"
#include "blip2/model/directory.h"
#include "blip2/model/soft_prompts.h"
#include "blip2/model/transformers_config_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json opt_model() {
  return json::parse(R"({
    "architectures": ["Blip2ForConditionalGeneration"], "model_type": "blip-2",
    "num_query_tokens": 4, "image_token_index": 50265, "use_decoder_only_language_model": true,
    "vision_config": {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2,
                      "intermediate_size": 48, "layer_norm_eps": 1e-6, "top_k": 50},
    "qformer_config": {"hidden_size": 32, "num_attention_heads": 4, "encoder_hidden_size": 1408,
                       "hidden_dropout_prob": 0.2, "top_k": 50},
    "text_config": {"model_type": "opt", "hidden_size": 32, "word_embed_proj_dim": 32,
                    "num_attention_heads": 4, "ffn_dim": 64, "eos_token_id": 50118}})");
}

std::string message_of(const json& object) {
  try {
    read_transformers_config(object, "config.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(TransformersConfig, ReadsWhatTransformers4And5Write) {
  json object = opt_model();
  const Blip2Config config = read_transformers_config(object, "config.json");
  EXPECT_EQ(config.layout, ModelLayout::blip2);
  EXPECT_EQ(config.num_query_tokens, 4);
  EXPECT_EQ(config.image_token, 50265);
  EXPECT_FALSE(config.stage1_heads);
  EXPECT_FALSE(config.reads_prompt);
  EXPECT_DOUBLE_EQ(config.feature_norm_eps, 1e-6);
  EXPECT_EQ(config.qformer.encoder_hidden_size, 32);  // the image encoder's, whatever is written
  EXPECT_DOUBLE_EQ(config.qformer.hidden_dropout_prob, 0.2);
  EXPECT_FALSE(config.qformer.use_qformer_text_input);
  EXPECT_EQ(language_width(*config.language), 32);
  EXPECT_THAT(end_tokens(*config.language), ElementsAre(50118));
  object["image_token_id"] = object["image_token_index"];
  object.erase("image_token_index");
  object.erase("architectures");
  EXPECT_EQ(read_transformers_config(object, "config.json").image_token, 50265);
}

TEST(TransformersConfig, WritesWhatItReads) {
  const Blip2Config config = read_transformers_config(opt_model(), "config.json");
  const json written = write_transformers_config(config);
  EXPECT_EQ(written["architectures"], json::array({"Blip2ForConditionalGeneration"}));
  EXPECT_EQ(written["text_config"]["model_type"], "opt");
  EXPECT_EQ(write_transformers_config(read_transformers_config(written, "config.json")), written);
}

TEST(TransformersConfig, KnowsInstructBlipAndRetrieval) {
  json object = opt_model();
  object["architectures"] = json::array({"InstructBlipForConditionalGeneration"});
  object["text_config"] = {{"model_type", "t5"}, {"d_model", 32},   {"d_kv", 8},
                           {"d_ff", 64},         {"num_layers", 2}, {"num_heads", 4}};
  object["use_decoder_only_language_model"] = false;
  const Blip2Config instructs = read_transformers_config(object, "config.json");
  EXPECT_TRUE(instructs.reads_prompt);
  EXPECT_TRUE(instructs.qformer.use_qformer_text_input);
  EXPECT_TRUE(std::holds_alternative<T5Config>(*instructs.language));
  object["architectures"] = json::array({"Blip2ForImageTextRetrieval"});
  const Blip2Config matches = read_transformers_config(object, "config.json");
  EXPECT_TRUE(matches.stage1_heads);
  EXPECT_FALSE(matches.language);
}

TEST(TransformersConfig, RefusesWhatItDoesNotKnow) {
  json object = opt_model();
  object["architectures"] = json::array({"LlavaForConditionalGeneration"});
  EXPECT_THAT(message_of(object), HasSubstr("Blip2ForImageTextRetrieval"));
  object = opt_model();
  object["text_config"]["model_type"] = "bloom";
  EXPECT_THAT(message_of(object), HasSubstr("known are t5, llama"));
  object = opt_model();
  object["use_decoder_only_language_model"] = false;
  EXPECT_THAT(message_of(object), HasSubstr("use_decoder_only_language_model"));
  object = opt_model();
  object["vision_config"]["model_type"] = "clip_vision_model";
  EXPECT_THAT(message_of(object), HasSubstr("blip_2_vision_model"));
}

TEST(BridgeTensorName, IsWhereEachLayoutHasIt) {
  const auto name = bridge_tensor_name;
  EXPECT_EQ(name(ModelLayout::own, "heads.itm_head.bias"), "itm_head.bias");
  EXPECT_EQ(name(ModelLayout::own, "ln_vision.bias"), "ln_vision.bias");
  EXPECT_EQ(name(ModelLayout::blip2, "ln_vision.bias"), "vision_model.post_layernorm.bias");
  EXPECT_EQ(name(ModelLayout::blip2, "qformer.layernorm.bias"), "qformer.layernorm.bias");
  EXPECT_EQ(name(ModelLayout::retrieval, "qformer.embeddings.word_embeddings.weight"),
            "embeddings.word_embeddings.weight");
  EXPECT_EQ(name(ModelLayout::instructblip, "qformer.layernorm.bias"),
            "qformer.embeddings.layernorm.bias");
}

TEST(TransformersLayout, NeedsAnEvaEncoderAndOneKindOfHead) {
  Blip2Config config;
  config.layout = ModelLayout::own;
  EXPECT_FALSE(transformers_layout(config));
  config.vision = VitConfig::of("clip_vision_model");
  EXPECT_FALSE(transformers_layout(config));
  config.vision = VitConfig::of("blip_2_vision_model");
  EXPECT_EQ(transformers_layout(config), ModelLayout::retrieval);
  config.language = DecoderConfig{};
  EXPECT_FALSE(transformers_layout(config));  // between the stages: no class has both
  config.stage1_heads = false;
  EXPECT_EQ(transformers_layout(config), ModelLayout::blip2);
  config.reads_prompt = true;
  EXPECT_EQ(transformers_layout(config), ModelLayout::instructblip);
}

TEST(JoinInput, PutsEachRowsTokensAfterItsSoftPrompts) {
  const at::Tensor soft = at::arange(8, at::kFloat).view({2, 2, 2});  // [B, Q, D]
  const auto embed = [](const at::Tensor& ids) {
    return ids.to(at::kFloat).unsqueeze(1).expand({-1, 2}) * 10;
  };
  const LanguageInput input = join_input(embed, soft, {{7}, {}});
  EXPECT_THAT(input.offsets, ElementsAre(0, 3, 5));
  EXPECT_TRUE(at::equal(input.embeds.select(1, 0), at::tensor({0.f, 2.f, 70.f, 4.f, 6.f})));
}

}  // namespace
}  // namespace blip2
