#include "blip2/qformer/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/base/nearest.h"

namespace blip2 {
namespace {

// Keys of PreTrainedConfig that say nothing about this architecture.
constexpr const char* kPassedOver[] = {"model_type",
                                       "architectures",
                                       "pad_token_id",
                                       "bos_token_id",
                                       "eos_token_id",
                                       "torch_dtype",
                                       "dtype",
                                       "transformers_version",
                                       "chunk_size_feed_forward",
                                       "output_attentions",
                                       "output_hidden_states",
                                       "return_dict",
                                       "is_encoder_decoder",
                                       "id2label",
                                       "label2id",
                                       "problem_type",
                                       "_name_or_path",
                                       "position_embedding_type",
                                       "classifier_dropout",
                                       "use_cache",
                                       "_attn_implementation_autoset"};

constexpr std::int64_t kLargestSize = 1 << 20;

void check_size(std::int64_t value, const char* key, const std::string& where) {
  if (value < 1 || value > kLargestSize) {
    throw Error(fmt::format("{}: expected 1 to {}, got {}", key, kLargestSize, value), where);
  }
}

void check_probability(double value, const char* key, const std::string& where) {
  if (!(value >= 0 && value < 1)) {
    throw Error(fmt::format("{}: expected 0 <= p < 1, got {}", key, value), where);
  }
}

// The language model's states have a width if, and only if, they are read.
void check_language(const QFormerConfig& config, const std::string& where) {
  check_encoder_reads(config.encoder_reads, where + ": encoder_reads");
  if (config.reads_language()) {
    check_size(config.language_hidden_size, "language_hidden_size", where);
  } else if (config.language_hidden_size != 0) {
    throw Error(
        fmt::format("language_hidden_size: expected 0 as encoder_reads has no \"{}\", got {}",
                    kReadsLanguage, config.language_hidden_size),
        where);
  }
}

}  // namespace

void check_encoder_reads(const std::vector<std::string>& reads, const std::string& where) {
  const std::vector<std::string> known{kReadsImage, kReadsLanguage};
  for (const std::string& name : reads) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      const std::string near = nearest_match(name, known);
      throw Error(fmt::format("expected \"{}\" and \"{}\", got \"{}\"", known[0], known[1], name),
                  where, near.empty() ? "" : fmt::format("did you mean \"{}\"?", near));
    }
    if (std::count(reads.begin(), reads.end(), name) > 1) {
      throw Error(fmt::format("\"{}\" stands there twice", name), where);
    }
  }
  if (!QFormerConfig::reads(reads, kReadsImage)) {
    throw Error(fmt::format("expected \"{}\", which every Q-Former reads", kReadsImage), where);
  }
}

void check_qformer_config(const QFormerConfig& config, const std::string& where) {
  check_size(config.vocab_size, "vocab_size", where);
  check_size(config.hidden_size, "hidden_size", where);
  check_size(config.num_hidden_layers, "num_hidden_layers", where);
  check_size(config.num_attention_heads, "num_attention_heads", where);
  check_size(config.intermediate_size, "intermediate_size", where);
  check_size(config.max_position_embeddings, "max_position_embeddings", where);
  check_size(config.cross_attention_frequency, "cross_attention_frequency", where);
  check_size(config.encoder_hidden_size, "encoder_hidden_size", where);
  check_probability(config.hidden_dropout_prob, "hidden_dropout_prob", where);
  check_probability(config.attention_probs_dropout_prob, "attention_probs_dropout_prob", where);
  if (config.hidden_size % config.num_attention_heads != 0) {
    throw Error(fmt::format("hidden_size {} is no multiple of num_attention_heads {}",
                            config.hidden_size, config.num_attention_heads),
                where);
  }
  check_language(config, where);
}

QFormerConfig read_qformer_config(const nlohmann::json& json, const std::string& where) {
  nlohmann::json known = json;
  if (known.is_object()) {
    const std::string activation = known.value("hidden_act", nlohmann::json("gelu")).dump();
    if (activation != "\"gelu\"") {
      throw Error("hidden_act: expected \"gelu\" (erf), got " + activation, where);
    }
    known.erase("hidden_act");
    for (const char* key : kPassedOver) known.erase(key);
  }
  QFormerConfig config;
  read_fields(config, known, where);
  check_qformer_config(config, where);
  return config;
}

nlohmann::json write_qformer_config(const QFormerConfig& config) {
  nlohmann::json json = write_value(config);
  if (!config.reads_language()) {  // then the file is as Hugging Face's
    json.erase("encoder_reads");
    json.erase("language_hidden_size");
  }
  json["hidden_act"] = "gelu";
  json["model_type"] = "blip_2_qformer";
  return json;
}

}  // namespace blip2
