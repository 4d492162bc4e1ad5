#include "blip2/model/config.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/io/fields.h"
#include "blip2/io/json.h"
#include "blip2/model/transformers_config_internal.h"

namespace blip2 {
namespace {

constexpr char kModelType[] = "blip-2";
constexpr char kOwnKey[] = "stage1_heads";  // transformers never writes it, we always do

// The keys of config.json that are plain values; the parts' own tables are read by their rooms.
struct PlainKeys {
  std::string model_type = kModelType, caption_prompt, question_prompt;
  std::vector<std::string> architectures{"Blip2ForConditionalGeneration"};
  std::int64_t num_query_tokens = 32, image_text_hidden_size = 256;
  bool stage1_heads = true, reads_prompt = false, chat_prompts = false;
  double feature_norm_eps = 1e-5;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("architectures", self.architectures, "");
    visit("model_type", self.model_type, "always blip-2");
    visit("num_query_tokens", self.num_query_tokens, "learned queries");
    visit("image_text_hidden_size", self.image_text_hidden_size, "width of the contrast");
    visit("stage1_heads", self.stage1_heads, "whether the heads of stage 1 are there");
    visit("reads_prompt", self.reads_prompt, "whether the Q-Former reads the prompt");
    visit("feature_norm_eps", self.feature_norm_eps, "epsilon of the norm on image features");
    visit("caption_prompt", self.caption_prompt, "prompt before a caption");
    visit("question_prompt", self.question_prompt, "prompt before an answer");
    visit("chat_prompts", self.chat_prompts, "whether prompts are turns of the chat template");
  }
};

nlohmann::json take(nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return nullptr;
  nlohmann::json value = std::move(*found);
  object.erase(found);
  return value;
}

void check(const Blip2Config& config, const std::string& where) {
  const auto positive = [&](std::int64_t value, const char* key) {
    if (value < 1 || value > 65536) {
      throw Error(fmt::format("expected a number in 1..65536, got {}", value), where + ": " + key);
    }
  };
  positive(config.num_query_tokens, "num_query_tokens");
  positive(config.image_text_hidden_size, "image_text_hidden_size");
  if (!(config.feature_norm_eps >= 0 && config.feature_norm_eps < 1)) {
    throw Error("expected 0 <= eps < 1", where + ": feature_norm_eps");
  }
  check_language_width(config, where);
  if (config.question_prompt.find("{}") == std::string::npos) {
    throw Error("expected a template that holds {} for the question", where + ": question_prompt");
  }
}

Blip2Config read_own(nlohmann::json object, const std::string& where) {
  const nlohmann::json vision = take(object, "vision_config");
  const nlohmann::json qformer = take(object, "qformer_config");
  const nlohmann::json language = take(object, "text_config");
  PlainKeys keys;
  keys.caption_prompt = Blip2Config{}.caption_prompt;
  keys.question_prompt = Blip2Config{}.question_prompt;
  read_fields(keys, object, where);
  if (keys.model_type != kModelType) {
    throw Error(fmt::format("expected '{}', got '{}'", kModelType, keys.model_type),
                where + ": model_type");
  }
  Blip2Config config;
  config.num_query_tokens = keys.num_query_tokens;
  config.image_text_hidden_size = keys.image_text_hidden_size;
  config.stage1_heads = keys.stage1_heads;
  config.reads_prompt = keys.reads_prompt;
  config.feature_norm_eps = keys.feature_norm_eps;
  config.caption_prompt = keys.caption_prompt;
  config.question_prompt = keys.question_prompt;
  config.chat_prompts = keys.chat_prompts;
  config.vision = read_vision_config(vision, where + ": vision_config", "efficientnet_lite");
  config.qformer = read_qformer_config(qformer, where + ": qformer_config");
  if (!language.is_null()) {
    config.language = read_language_config(language, where + ": text_config");
  }
  return config;
}

}  // namespace

void check_language_width(const Blip2Config& config, const std::string& where) {
  if (!config.qformer.reads_language() || !config.language) return;
  const std::int64_t width = language_width(*config.language);
  if (config.qformer.language_hidden_size == width) return;
  throw Error(fmt::format("the language model's states are {} wide, the Q-Former reads {}", width,
                          config.qformer.language_hidden_size),
              where + ": qformer_config: language_hidden_size",
              "it was trained with another language model");
}

Blip2Config read_blip2_config(const std::filesystem::path& config_json) {
  const std::string where = config_json.string();
  nlohmann::json object = read_json(config_json);
  if (!object.is_object()) throw Error("expected a table of keys", where);
  Blip2Config config = object.contains(kOwnKey) ? read_own(std::move(object), where)
                                                : read_transformers_config(object, where);
  check(config, where);
  return config;
}

nlohmann::json write_blip2_config(const Blip2Config& config) {
  if (config.layout != ModelLayout::own) return write_transformers_config(config);
  PlainKeys keys;
  keys.num_query_tokens = config.num_query_tokens;
  keys.image_text_hidden_size = config.image_text_hidden_size;
  keys.stage1_heads = config.stage1_heads;
  keys.reads_prompt = config.reads_prompt;
  keys.feature_norm_eps = config.feature_norm_eps;
  keys.caption_prompt = config.caption_prompt;
  keys.question_prompt = config.question_prompt;
  keys.chat_prompts = config.chat_prompts;
  nlohmann::json object = write_value(keys);
  object["vision_config"] = write_vision_config(config.vision);
  object["qformer_config"] = write_qformer_config(config.qformer);
  if (config.language) object["text_config"] = write_language_config(*config.language);
  return object;
}

}  // namespace blip2
