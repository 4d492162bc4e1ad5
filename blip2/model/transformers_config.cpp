#include "blip2/model/transformers_config_internal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/io/members.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::pair<ModelLayout, const char*> kClasses[] = {
    {ModelLayout::blip2, "Blip2ForConditionalGeneration"},
    {ModelLayout::retrieval, "Blip2ForImageTextRetrieval"},
    {ModelLayout::instructblip, "InstructBlipForConditionalGeneration"}};

// By the class's name, or by model_type where the file does not name one.
ModelLayout layout_of(const json& object, const std::string& where) {
  std::vector<std::string> names;
  std::string type;
  read_member(names, object, "architectures", where);
  read_member(type, object, "model_type", where);
  if (names.empty() && type == "blip-2") return ModelLayout::blip2;
  if (names.empty() && type == "instructblip") return ModelLayout::instructblip;
  std::vector<std::string> known;
  for (const auto& [layout, name] : kClasses) {
    if (std::find(names.begin(), names.end(), name) != names.end()) return layout;
    known.emplace_back(name);
  }
  throw Error(fmt::format("unknown architecture {}",
                          names.empty() ? "'" + type + "'" : fmt::format("{}", names)),
              where + (names.empty() ? ": model_type" : ": architectures"),
              fmt::format("known are {}, and the directories that `blip2 convert` and `blip2 "
                          "train` write",
                          fmt::join(known, ", ")));
}

// A part's table; an absent one means transformers' defaults of that part.
json table(const json& object, const char* key, const char* default_type,
           const std::string& where) {
  json part = object.value(key, json());
  if (part.is_null()) part = json::object();
  if (!part.is_object()) throw Error("expected a table of keys", where + ": " + key);
  if (!part.contains("model_type")) part["model_type"] = default_type;
  return part;
}

const char* vision_type_of(ModelLayout layout) {
  return layout == ModelLayout::instructblip ? "instructblip_vision_model" : "blip_2_vision_model";
}

// The kind is looked at before the keys, which differ from kind to kind.
VitConfig read_eva(const json& object, const char* type, const std::string& where) {
  const json vision = table(object, "vision_config", type, where);
  const std::string place = where + ": vision_config";
  const bool known = vision["model_type"] == "blip_2_vision_model" ||
                     vision["model_type"] == "instructblip_vision_model";
  if (!known) {
    throw Error(
        fmt::format("expected the model_type \"{}\", got {}", type,
                    vision["model_type"].dump(-1, ' ', true, json::error_handler_t::replace)),
        place, "transformers' class has that image encoder only");
  }
  return std::get<VitConfig>(read_vision_config(vision, place, type));
}

// transformers 4 writes every key that a configuration may have into each part.
QFormerConfig read_qformer(const json& part, std::int64_t image_width, ModelLayout layout,
                           const std::string& where) {
  json known = without_generic_keys(part);
  for (const char* key :
       {"hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range"}) {
    if (part.contains(key)) known[key] = part[key];
  }
  QFormerConfig config = read_qformer_config(known, where);
  if (config.reads_language()) {
    throw Error("transformers' class does not read a language model's states",
                where + ": encoder_reads");
  }
  // As transformers does, whatever the file says.
  config.encoder_hidden_size = image_width;
  // InstructBLIP's always reads text; the other generating class has no word embeddings to do so.
  config.use_qformer_text_input = layout != ModelLayout::blip2;
  return config;
}

void read_prompts(const json& object, const std::string& where, Blip2Config& config) {
  config.caption_prompt =
      config.layout == ModelLayout::instructblip ? "A short image description." : "";
  read_member(config.caption_prompt, object, "caption_prompt", where);
  read_member(config.question_prompt, object, "question_prompt", where);
  read_member(config.chat_prompts, object, "chat_prompts", where);
}

// The class decides by the kind of the language model; the key is there to be looked at.
void check_kind(const json& object, const Blip2Config& config, const std::string& where) {
  const bool decoder = std::holds_alternative<DecoderConfig>(*config.language);
  bool said = decoder;
  read_member(said, object, "use_decoder_only_language_model", where);
  if (said != decoder) {
    throw Error(fmt::format("expected {} for this text_config, got {}", decoder, said),
                where + ": use_decoder_only_language_model");
  }
}

}  // namespace

std::string architecture_of(ModelLayout layout) {
  for (const auto& [known, name] : kClasses) {
    if (known == layout) return name;
  }
  return {};
}

Blip2Config read_transformers_config(const json& object, const std::string& where) {
  Blip2Config config;
  config.layout = layout_of(object, where);
  const bool instructs = config.layout == ModelLayout::instructblip;
  const VitConfig eva = read_eva(object, vision_type_of(config.layout), where);
  config.vision = eva;
  config.feature_norm_eps = eva.layer_norm_eps;
  config.qformer = read_qformer(table(object, "qformer_config", "blip_2_qformer", where),
                                eva.hidden_size, config.layout, where + ": qformer_config");
  read_member(config.num_query_tokens, object, "num_query_tokens", where);
  read_member(config.image_text_hidden_size, object, "image_text_hidden_size", where);
  for (const char* key : {"image_token_index", "image_token_id"}) {
    read_member(config.image_token, object, key, where);
  }
  config.reads_prompt = instructs;
  config.stage1_heads = config.layout == ModelLayout::retrieval;
  read_prompts(object, where, config);
  if (config.stage1_heads) return config;
  config.language =
      read_language_config(table(object, "text_config", "opt", where), where + ": text_config");
  check_kind(object, config, where);
  return config;
}

json write_transformers_config(const Blip2Config& config) {
  const bool instructs = config.layout == ModelLayout::instructblip;
  json vision = write_vision_config(config.vision), qformer = write_qformer_config(config.qformer);
  vision["model_type"] = vision_type_of(config.layout);
  qformer["model_type"] = instructs ? "instructblip_qformer" : "blip_2_qformer";
  if (instructs) qformer.erase("use_qformer_text_input");
  json object{{"architectures", json::array({architecture_of(config.layout)})},
              {"model_type", instructs ? "instructblip" : "blip-2"},
              {"num_query_tokens", config.num_query_tokens},
              {"vision_config", std::move(vision)},
              {"qformer_config", std::move(qformer)}};
  if (!instructs) object["image_text_hidden_size"] = config.image_text_hidden_size;
  if (config.image_token >= 0) object["image_token_index"] = config.image_token;
  if (!config.language) return object;
  object["text_config"] = write_language_config(*config.language);
  object["use_decoder_only_language_model"] =
      std::holds_alternative<DecoderConfig>(*config.language);
  object["caption_prompt"] = config.caption_prompt;
  object["question_prompt"] = config.question_prompt;
  if (config.chat_prompts) object["chat_prompts"] = true;
  return object;
}

}  // namespace blip2
