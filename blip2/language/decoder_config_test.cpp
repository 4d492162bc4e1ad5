#include "blip2/language/decoder_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/base/error.h"

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

}  // namespace
}  // namespace blip2
