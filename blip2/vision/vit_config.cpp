#include "blip2/vision/vit_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "blip2/base/error.h"
#include "blip2/io/members.h"

namespace blip2 {
namespace {

using nlohmann::json;

// Keys of PreTrainedConfig (transformers 4 writes all of them into nested configurations), of
// dropout and initialisation, of the text side's projection and of the backbone classes.
constexpr const char* kGeneric[] = {"_attn_implementation_autoset",
                                    "_name_or_path",
                                    "add_cross_attention",
                                    "apply_layernorm",
                                    "architectures",
                                    "attention_dropout",
                                    "attention_probs_dropout_prob",
                                    "bad_words_ids",
                                    "begin_suppress_tokens",
                                    "bos_token_id",
                                    "chunk_size_feed_forward",
                                    "cross_attention_hidden_size",
                                    "decoder_start_token_id",
                                    "diversity_penalty",
                                    "do_sample",
                                    "drop_path_rate",
                                    "dropout",
                                    "dtype",
                                    "early_stopping",
                                    "encoder_no_repeat_ngram_size",
                                    "eos_token_id",
                                    "exponential_decay_length_penalty",
                                    "finetuning_task",
                                    "forced_bos_token_id",
                                    "forced_eos_token_id",
                                    "hidden_dropout_prob",
                                    "id2label",
                                    "initializer_factor",
                                    "initializer_range",
                                    "is_decoder",
                                    "is_encoder_decoder",
                                    "label2id",
                                    "layerscale_value",
                                    "length_penalty",
                                    "max_length",
                                    "min_length",
                                    "no_repeat_ngram_size",
                                    "num_beam_groups",
                                    "num_beams",
                                    "num_return_sequences",
                                    "out_features",
                                    "out_indices",
                                    "output_attentions",
                                    "output_hidden_states",
                                    "output_scores",
                                    "pad_token_id",
                                    "pos_embed_jitter",
                                    "pos_embed_rescale",
                                    "pos_embed_shift",
                                    "prefix",
                                    "problem_type",
                                    "projection_dim",
                                    "pruned_heads",
                                    "remove_invalid_values",
                                    "repetition_penalty",
                                    "reshape_hidden_states",
                                    "return_dict",
                                    "return_dict_in_generate",
                                    "sep_token_id",
                                    "stage_names",
                                    "suppress_tokens",
                                    "task_specific_params",
                                    "temperature",
                                    "tf_legacy_loss",
                                    "tie_encoder_decoder",
                                    "tie_word_embeddings",
                                    "tokenizer_class",
                                    "top_k",
                                    "top_p",
                                    "torch_dtype",
                                    "torchscript",
                                    "transformers_version",
                                    "typical_p",
                                    "use_bfloat16",
                                    "use_cache",
                                    "use_head",
                                    "use_mask_token",
                                    "vision_use_head"};

constexpr std::int64_t kLargestSize = 1 << 16;

// A side given as [n, n] is n, and 4.0 where a whole number belongs is 4.
void simplify(json& object, const std::string& where) {
  for (const char* key : {"image_size", "patch_size"}) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_array()) continue;
    if (found->size() != 2 || (*found)[0] != (*found)[1]) {
      throw Error("expected a number or two equal ones, got " + found->dump().substr(0, 80),
                  where + ": " + key);
    }
    const json side = (*found)[0];
    *found = side;
  }
  const auto ratio = object.find("mlp_ratio");
  if (ratio != object.end() && ratio->is_number_float() &&
      ratio->get<double>() == static_cast<double>(static_cast<int>(ratio->get<double>()))) {
    *ratio = static_cast<int>(ratio->get<double>());
  }
}

}  // namespace

const std::vector<std::string>& vit_model_types() {
  static const std::vector<std::string> types{"blip_2_vision_model",   "instructblip_vision_model",
                                              "clip_vision_model",     "siglip_vision_model",
                                              "siglip2_vision_model",  "dinov2",
                                              "dinov2_with_registers", "dinov3_vit",
                                              "aimv2_vision_model"};
  return types;
}

VitConfig VitConfig::of(const std::string& model_type) {
  const auto& types = vit_model_types();
  if (std::find(types.begin(), types.end(), model_type) == types.end()) {
    throw Error(fmt::format("unknown vision transformer '{}'", model_type), "vision_config",
                fmt::format("known are {}", fmt::join(types, ", ")));
  }
  VitConfig c;
  c.model_type = model_type;
  if (c.is_eva()) return c;
  c.hidden_size = 768;
  c.intermediate_size = 3072;
  c.num_hidden_layers = c.num_attention_heads = 12;
  if (model_type == "clip_vision_model") {
    c.patch_size = 32;
    c.layer_norm_eps = 1e-5;
    c.hidden_act = "quick_gelu";
  } else if (model_type == "siglip_vision_model" || c.is_naflex()) {
    c.patch_size = 16;
    c.hidden_act = "gelu_pytorch_tanh";
  } else if (model_type == "dinov2_with_registers") {
    c.patch_size = 16;
    c.num_register_tokens = 4;
  } else if (c.is_dinov3()) {
    c.hidden_size = 384;
    c.intermediate_size = 1536;
    c.num_attention_heads = 6;
    c.patch_size = 16;
    c.layer_norm_eps = 1e-5;
  } else if (c.is_aimv2()) {
    c.hidden_size = 1024;
    c.intermediate_size = 2816;
    c.num_hidden_layers = 24;
    c.num_attention_heads = 8;
    c.hidden_act = "silu";
    c.qkv_bias = c.mlp_bias = false;
  }
  return c;
}

std::int64_t VitConfig::grid() const {
  if (!is_naflex()) return image_size / patch_size;
  return std::llround(std::sqrt(static_cast<double>(num_patches)));
}

std::int64_t VitConfig::patches() const {
  if (!is_naflex()) return grid() * grid();
  return max_num_patches > 0 ? max_num_patches : num_patches;
}

std::int64_t VitConfig::feed_forward_width() const {
  if (!is_dinov2()) return intermediate_size;
  const std::int64_t full = hidden_size * mlp_ratio;
  return use_swiglu_ffn ? (full * 2 / 3 + 7) / 8 * 8 : full;
}

json without_generic_keys(const json& object) {
  json rest = object;
  if (rest.is_object()) {
    for (const char* key : kGeneric) rest.erase(key);
  }
  return rest;
}

namespace {

void check_grid(const VitConfig& c, const std::string& where) {
  if (c.is_naflex()) {
    if (c.grid() * c.grid() == c.num_patches) return;
    throw Error(fmt::format("expected a square number, got {}", c.num_patches),
                where + ": num_patches");
  }
  if (c.image_size % c.patch_size != 0) {
    const std::int64_t below = std::max<std::int64_t>(c.grid(), 1) * c.patch_size;
    throw Error(fmt::format("expected an image_size that patch_size {} divides, got {}",
                            c.patch_size, c.image_size),
                where, fmt::format("{} or {} would do", below, (c.grid() + 1) * c.patch_size));
  }
  // Positions of two dimensions, by sines and cosines: in each head, or over the whole width.
  const std::int64_t turned = c.is_dinov3() ? c.hidden_size / c.num_attention_heads : c.hidden_size;
  if ((c.is_dinov3() || c.is_native) && turned % 4 != 0) {
    throw Error(fmt::format("expected {} of a multiple of 4, got {}",
                            c.is_dinov3() ? "heads" : "hidden_size", turned),
                where, "positions of two dimensions need it");
  }
}

}  // namespace

void check_vit_config(const VitConfig& c, const std::string& where) {
  VitConfig::fields(c, [&](std::string_view key, const auto& value, std::string_view) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, std::int64_t>) {
      const bool may_be_none =
          key == "feature_layers" || key == "num_register_tokens" || key == "max_num_patches";
      const std::int64_t least = may_be_none ? 0 : 1;
      if (value >= least && value <= kLargestSize) return;
      throw Error(fmt::format("expected {} to {}, got {}", least, kLargestSize, value),
                  fmt::format("{}: {}", where, key));
    }
  });
  if (c.hidden_size % c.num_attention_heads != 0) {
    throw Error(fmt::format("expected hidden_size to be a multiple of num_attention_heads, got {} "
                            "and {}",
                            c.hidden_size, c.num_attention_heads),
                where);
  }
  check_grid(c, where);
  if (c.feature_layers > c.num_hidden_layers) {
    throw Error(fmt::format("expected feature_layers of at most num_hidden_layers {}, got {}",
                            c.num_hidden_layers, c.feature_layers),
                where);
  }
  if (!(c.norm_eps() >= 0 && c.norm_eps() < 1)) {
    throw Error(fmt::format("expected 0 <= {}_norm_eps < 1, got {}", c.is_aimv2() ? "rms" : "layer",
                            c.norm_eps()),
                where);
  }
  if (!(c.rope_theta > 0 && c.rope_theta < 1e12)) {
    throw Error(fmt::format("expected a number above 0, got {}", c.rope_theta),
                where + ": rope_theta");
  }
  if (c.hidden_act != "gelu" && c.hidden_act != "gelu_pytorch_tanh" &&
      c.hidden_act != "quick_gelu" && c.hidden_act != "silu") {
    throw Error(fmt::format("expected hidden_act gelu, gelu_pytorch_tanh, quick_gelu or silu, got "
                            "'{}'",
                            c.hidden_act),
                where);
  }
}

VitConfig read_vit_config(const json& object, const std::string& where) {
  json known = without_generic_keys(object);
  VitConfig config = VitConfig::of(member_or<std::string>(known, "model_type", "", where));
  simplify(known, where);
  if (known.contains("num_channels")) {
    if (known["num_channels"] != 3) {
      throw Error("expected 3, got " + known["num_channels"].dump(), where + ": num_channels");
    }
    known.erase("num_channels");
  }
  read_fields(config, known, where);
  check_vit_config(config, where);
  return config;
}

json write_vit_config(const VitConfig& config) {
  json object = write_value(config);
  if (config.feature_layers == 0) object.erase("feature_layers");
  if (!config.align_corners) object.erase("align_corners");
  if (config.max_num_patches == 0) object.erase("max_num_patches");
  // What we do not keep: the pooling heads of SigLIP and AIMv2 and DINOv2's mask token.
  if (config.model_type.starts_with("siglip")) object["vision_use_head"] = false;
  if (config.is_aimv2()) object["use_head"] = false;
  if (config.model_type == "dinov2") object["use_mask_token"] = false;
  return object;
}

}  // namespace blip2
