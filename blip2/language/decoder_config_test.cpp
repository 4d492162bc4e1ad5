#include "blip2/language/decoder_config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/base/error.h"
#include "blip2/base/message_of.h"

namespace blip2 {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(DecoderConfig, RefusesWhatItCannotDo) {
  const json good{{"model_type", "llama"},    {"hidden_size", 8},         {"intermediate_size", 12},
                  {"num_hidden_layers", 2},   {"num_attention_heads", 4}, {"head_dim", 4},
                  {"num_key_value_heads", 2}, {"vocab_size", 11}};
  EXPECT_EQ(decoder_config_from_json(good, "here").num_key_value_heads, 2);
  const auto message = [&](const char* key, const json& value) {
    json changed = good;
    changed[key] = value;
    try {
      decoder_config_from_json(changed, "config.json");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message("hidden_size", -1), HasSubstr("hidden_size"));
  EXPECT_THAT(message("hidden_size", "wide"), HasSubstr("config.json: hidden_size"));
  EXPECT_THAT(message("num_key_value_heads", 3), HasSubstr("multiple"));
  EXPECT_THAT(message("hidden_act", "gelu"), HasSubstr("gelu"));
  EXPECT_THAT(message("rope_scaling", {{"rope_type", "dynamic"}}),
              AllOf(HasSubstr("rope_scaling"), HasSubstr("'dynamic'")));
  EXPECT_THAT(message("model_type", "mamba"), HasSubstr("mamba"));
  EXPECT_THAT(message("do_layer_norm_before", false), "");  // Llama has no such key
  EXPECT_THAT(message("num_attention_heads", 0), HasSubstr("num_attention_heads"));
  EXPECT_THAT(message("eos_token_id", 11), HasSubstr("vocabulary"));
  EXPECT_THAT(message("vocab_size", 1ll << 40), HasSubstr("vocab_size"));
}

// A configuration of two layers with a change.
std::string said_of(const char* family, const json& change) {
  json object{{"model_type", family},   {"hidden_size", 16},        {"intermediate_size", 12},
              {"num_hidden_layers", 2}, {"num_attention_heads", 4}, {"num_key_value_heads", 2},
              {"vocab_size", 11},       {"eos_token_id", 2}};
  object.update(change);
  return message_of([&] { decoder_config_from_json(object, "config.json"); });
}

TEST(DecoderConfig, NamesKeyAndValueOfWrongNumbers) {
  for (const int scalar : {0, -4}) {
    EXPECT_EQ(said_of("gemma3_text", {{"query_pre_attn_scalar", scalar}}),
              "config.json: query_pre_attn_scalar: expected a positive number, got " +
                  std::to_string(scalar));
  }
  EXPECT_EQ(said_of("llama", {{"rope_theta", -1}}),
            "config.json: rope_theta: expected a positive number, got -1");
  EXPECT_EQ(said_of("llama", {{"rope_parameters", {{"rope_theta", 0}}}}),
            "config.json: rope_parameters: rope_theta: expected a positive number, got 0");
  EXPECT_EQ(said_of("gemma3_text", {{"rope_local_base_freq", 0}}),
            "config.json: rope_local_base_freq: expected a positive number, got 0");
  EXPECT_EQ(said_of("llama", {{"rms_norm_eps", -1}}),
            "config.json: rms_norm_eps: expected 0 or more, got -1");
  EXPECT_EQ(said_of("gpt2", {{"n_layer", 2}, {"layer_norm_epsilon", -1}}),
            "config.json: layer_norm_epsilon: expected 0 or more, got -1");
  EXPECT_EQ(said_of("smollm3", {{"no_rope_layer_interval", 0}}),
            "config.json: no_rope_layer_interval: expected a positive number, got 0");
  EXPECT_EQ(said_of("phi3", {{"original_max_position_embeddings", 0}}),
            "config.json: original_max_position_embeddings: expected a positive number, got 0");
}

TEST(DecoderConfig, RopeIsATableOfKeys) {
  for (const json& value : {json("llama3"), json::array({1}), json(3), json(true)}) {
    for (const char* key : {"rope_parameters", "rope_scaling"}) {
      for (const char* family : {"llama", "gemma3_text", "phi3"}) {
        EXPECT_EQ(
            said_of(family, {{key, value}}),
            fmt::format("config.json: {}: expected a table of keys, got {}", key, value.dump()));
      }
    }
    EXPECT_EQ(said_of("gemma3_text", {{"rope_parameters", {{"full_attention", value}}}}),
              "config.json: rope_parameters: full_attention: expected a table of keys, got " +
                  value.dump());
  }
  EXPECT_EQ(said_of("llama", {{"rope_parameters", nullptr}, {"rope_scaling", json::object()}}),
            "no error");
  EXPECT_EQ(said_of("qwen3", {{"rope_parameters", {{"full_attention", {{"rope_theta", 9.0}}}}}}),
            "config.json: rope_parameters: model_type qwen3 has one table for all layers, got some "
            "by layer_types");
}

// transformers 5.23 refuses these with a KeyError, and takes max_position_embeddings for a missing
// original_max_position_embeddings.
TEST(DecoderConfig, KindsOfRopeHaveTheirKeys) {
  const json whole{{"rope_type", "llama3"},
                   {"factor", 8.0},
                   {"low_freq_factor", 1.0},
                   {"high_freq_factor", 4.0}};
  EXPECT_EQ(said_of("llama", {{"rope_parameters", whole}}), "no error");
  for (const char* key : {"factor", "low_freq_factor", "high_freq_factor"}) {
    json part = whole;
    part.erase(key);
    EXPECT_EQ(
        said_of("llama", {{"rope_scaling", part}}),
        fmt::format("config.json: rope_scaling: {}: is missing, rope_type llama3 needs it", key));
  }
  json equal = whole;
  equal["high_freq_factor"] = 1.0;
  EXPECT_EQ(
      said_of("llama", {{"rope_parameters", equal}}),
      "config.json: rope_parameters: high_freq_factor: expected more than low_freq_factor, 1, "
      "got 1");
  for (const char* kind : {"linear", "yarn"}) {
    EXPECT_EQ(said_of("llama", {{"rope_parameters", {{"rope_type", kind}}}}),
              fmt::format("config.json: rope_parameters: factor: is missing, rope_type {} needs it",
                          kind));
  }
  EXPECT_EQ(said_of("llama", {{"rope_parameters", {{"rope_type", "yarn"}, {"factor", nullptr}}}}),
            "no error");
  const json factors{{"rope_type", "longrope"}, {"short_factor", 1.5}, {"long_factor", {1.5, 2.0}}};
  EXPECT_EQ(said_of("phi3", {{"rope_parameters", factors}}),
            "config.json: rope_parameters: short_factor: expected a list, got 1.5");
}

TEST(DecoderConfig, LayerTypesAreAListOfOneALayer) {
  for (const std::string_view family : decoder_family_names()) {
    const std::string name(family);
    EXPECT_EQ(said_of(name.c_str(), {{"layer_types", {"full_attention"}}}),
              "config.json: layer_types: expected 2 entries, one a layer, got 1")
        << name;
    EXPECT_EQ(said_of(name.c_str(), {{"layer_types", "full_attention"}}),
              "config.json: layer_types: expected a list, got \"full_attention\"")
        << name;
    EXPECT_EQ(said_of(name.c_str(), {{"layer_types", {"full_attention", "full_attention"}}}),
              "no error")
        << name;
  }
  EXPECT_EQ(said_of("smollm3", {{"no_rope_layers", 1}}),
            "config.json: no_rope_layers: expected a list, got 1");
}

}  // namespace
}  // namespace blip2
