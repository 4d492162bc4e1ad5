#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "blip2/base/error.h"
#include "blip2/language/decoder_families_internal.h"
#include "blip2/language/gguf_tensors_internal.h"
#include "blip2/language/rope_json_internal.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

const DecoderFamilyRow& read_family(const GgufFile& file, const std::string& name) {
  std::vector<std::string> known;
  for (const DecoderFamilyRow& row : decoder_families()) {
    if (!row.in_gguf) continue;
    if (row.gguf == name) return row;
    known.push_back(std::string(row.gguf) + (row.gguf == "llama" ? " (Mistral too)" : ""));
  }
  throw Error(fmt::format("general.architecture: '{}' is not known here", name),
              file.path().string(), fmt::format("known: {}", fmt::join(known, ", ")));
}

// The metadata under a file's architecture, and that of its tokenizer.
class Metadata {
 public:
  Metadata(const GgufFile& file, std::string architecture)
      : file_(file), architecture_(std::move(architecture)) {}

  std::int64_t size(const char* key, std::uint64_t fallback = 0) const {
    const std::uint64_t value = file_.integer(architecture_ + "." + key).value_or(fallback);
    return static_cast<std::int64_t>(std::min<std::uint64_t>(value, 1ull << 62));
  }
  double number(const char* key, double fallback) const {
    return file_.number(architecture_ + "." + key).value_or(fallback);
  }
  std::string text(const char* key) const {
    return file_.string(architecture_ + "." + key).value_or("none");
  }
  std::int32_t token(const char* key, std::int32_t fallback) const {
    const auto id = file_.integer(std::string("tokenizer.ggml.") + key);
    return id ? static_cast<std::int32_t>(std::min<std::uint64_t>(*id, INT32_MAX)) : fallback;
  }

 private:
  const GgufFile& file_;
  std::string architecture_;
};

// A head's width, and how many of its numbers rotate.
void read_head(const Metadata& metadata, const DecoderFamilyRow& row, DecoderConfig& c,
               const std::string& where) {
  const std::int64_t rotated = metadata.size("rope.dimension_count");
  const std::int64_t shared = c.hidden_size / std::max<std::int64_t>(c.num_attention_heads, 1);
  const bool whole = rotated > 0 && !row.partial_rotary;
  c.head_dim = metadata.size("attention.key_length", whole ? rotated : shared);
  need(rotated == 0 || rotated == c.head_dim || (row.partial_rotary && rotated < c.head_dim),
       fmt::format("rope.dimension_count: expected a head's {}, got {}", c.head_dim, rotated),
       where);
  c.rotary_dim = rotated == c.head_dim ? 0 : rotated;
}

void read_sizes(const Metadata& metadata, const DecoderFamilyRow& row, DecoderConfig& c,
                const std::string& where) {
  c.hidden_size = metadata.size("embedding_length");
  c.intermediate_size = metadata.size("feed_forward_length");
  c.num_hidden_layers = metadata.size("block_count");
  c.num_attention_heads = metadata.size("attention.head_count");
  c.num_key_value_heads = metadata.size("attention.head_count_kv", c.num_attention_heads);
  read_head(metadata, row, c, where);
  c.max_position_embeddings = metadata.size("context_length", 2048);
  const char* eps =
      c.layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
  c.norm_eps = static_cast<float>(metadata.number(eps, c.norm_eps));
  need(c.norm_eps >= 0, fmt::format("{}: expected 0 or more, got {}", eps, c.norm_eps), where);
}

// The numbers of one of the file's tensors of rotary factors; none if it is not there.
std::vector<double> factors_of(const GgufFile& file, const char* name, const DecoderConfig& c) {
  const TensorView* view = file.find(name);
  if (!view) return {};
  const std::vector<std::int64_t> expected{c.rotated() / 2};
  need(view->shape == expected,
       fmt::format("{}: expected shape {}, got {}", name, shape_text(expected),
                   shape_text(view->shape)),
       file.path().string());
  std::vector<float> values(static_cast<std::size_t>(expected[0]));
  to_float32(*view, values);
  const auto fits = [](float value) { return value > 0 && std::isfinite(value); };
  need(std::ranges::all_of(values, fits), fmt::format("{}: expected positive numbers", name),
       file.path().string());
  return {values.begin(), values.end()};
}

double positive(const Metadata& metadata, const char* key, double missing,
                const std::string& where) {
  const double value = metadata.number(key, missing);
  need(value > 0 && std::isfinite(value),
       fmt::format("{}: expected a positive number, got {}", key, value), where);
  return value;
}

double scaling_factor(const Metadata& metadata, const std::string& where) {
  return positive(metadata, "rope.scaling.factor", 1.0, where);
}

// The factors of Llama 3.1 are those of sequences of any length.
void read_factors(const GgufFile& file, const Metadata& metadata, DecoderConfig& c) {
  LongRope rope{factors_of(file, kShortRopeFactors, c), factors_of(file, kLongRopeFactors, c),
                c.max_position_embeddings};
  if (auto factors = factors_of(file, kRopeFactors, c); !factors.empty()) {
    rope.short_factor = rope.long_factor = std::move(factors);
  } else if (!rope.short_factor.empty() && !rope.long_factor.empty()) {
    rope.original_max_position_embeddings =
        metadata.size("rope.scaling.original_context_length", 4096);
    need(rope.original_max_position_embeddings > 1,
         fmt::format("rope.scaling.original_context_length: expected more than 1, got {}",
                     rope.original_max_position_embeddings),
         file.path().string());
    const auto most = static_cast<double>(c.max_position_embeddings),
               original = static_cast<double>(rope.original_max_position_embeddings);
    rope.attention_factor = metadata.number("rope.scaling.attn_factor",
                                            long_rope_attention_factor(most / original, original));
  } else {
    return;
  }
  c.rope.scaling = std::move(rope);
}

YarnRope read_yarn(const Metadata& metadata, const DecoderConfig& c, const std::string& where) {
  YarnRope rope;
  rope.factor = scaling_factor(metadata, where);
  rope.original_max_position_embeddings = static_cast<double>(
      metadata.size("rope.scaling.original_context_length", c.max_position_embeddings));
  rope.beta_fast = positive(metadata, "rope.scaling.yarn_beta_fast", rope.beta_fast, where);
  rope.beta_slow = positive(metadata, "rope.scaling.yarn_beta_slow", rope.beta_slow, where);
  rope.attention_factor = yarn_attention_scale(rope.factor);
  const double all = metadata.number("rope.scaling.yarn_log_multiplier", 0.0);
  if (all != 0) rope.attention_factor /= yarn_attention_scale(rope.factor, all);
  return rope;
}

void read_rope(const GgufFile& file, const Metadata& metadata, const DecoderFamilyRow& row,
               DecoderConfig& c) {
  const std::string where = file.path().string();
  c.rope = {positive(metadata, "rope.freq_base", c.rope.theta, where)};
  if (c.local_rope) {
    c.local_rope->theta = positive(metadata, "rope.freq_base_swa", c.local_rope->theta, where);
  }
  const std::string kind = metadata.text("rope.scaling.type");
  if (kind == "linear") {
    c.rope.scaling = LinearRope{scaling_factor(metadata, where)};
  } else if (kind == "yarn") {
    c.rope.scaling = read_yarn(metadata, c, where);
  } else if (kind != "none" && kind != "longrope") {
    throw Error(fmt::format("rope.scaling.type: '{}' is not known here", kind), where,
                "known: none, linear, yarn, longrope");
  }
  read_factors(file, metadata, c);
  if (!row.query_scale) return;
  c.query_scale = {metadata.number("attention.temperature_scale", 0.0),
                   metadata.size("rope.scaling.original_context_length")};
  if (c.query_scale.beta != 0) {
    need(c.query_scale.length > 0,
         "attention.temperature_scale needs rope.scaling.original_context_length", where);
  }
}

// llama.cpp knows of each architecture which layers slide and which do not rotate.
void read_layers(const Metadata& metadata, const DecoderFamilyRow& row, DecoderConfig& c) {
  c.sliding_window = 0;
  if (row.window != WindowKeys::none) c.sliding_window = metadata.size("attention.sliding_window");
  LayerRule rule = row.layers;
  if (rule.full_period > 0) {
    const auto period = metadata.size("attention.sliding_window_pattern");
    if (period > 0) rule.full_period = period;
  }
  if (rule.unrotated) c.unrotated_layers = every_layer(kUnrotatedInterval, c.num_hidden_layers);
  c.sliding_layers = usual_sliding_layers(rule, c);
}

// As llama.cpp has it: of all sizes of Gemma 3 the largest is another.
void read_attention_scale(DecoderConfig& c) {
  constexpr std::int64_t kLargestLayers = 62;
  if (c.query_pre_attn_scalar == 0) return;
  c.query_pre_attn_scalar =
      c.num_hidden_layers == kLargestLayers ? c.hidden_size / c.num_attention_heads : c.head_dim;
}

}  // namespace

DecoderConfig decoder_config_from_gguf(const GgufFile& file) {
  const std::string where = file.path().string();
  const std::string name = file.string("general.architecture").value_or("(none)");
  const DecoderFamilyRow& row = read_family(file, name);
  const Metadata metadata(file, name);
  DecoderConfig c = row.defaults;
  read_sizes(metadata, row, c, where);
  c.qkv_bias = file.find(*row.names->qkv ? "blk.0.attn_qkv.bias" : "blk.0.attn_q.bias") != nullptr;
  c.output_bias = file.find("blk.0.attn_output.bias") != nullptr;
  c.mlp_bias = file.find("blk.0.ffn_up.bias") != nullptr;
  const TensorView& embeddings = file.get("token_embd.weight");
  c.vocab_size = embeddings.shape.empty() ? 0 : embeddings.shape[0];
  c.tie_word_embeddings = file.find("output.weight") == nullptr;
  c.bos_token_id = metadata.token("bos_token_id", row.defaults.bos_token_id);
  c.eos_token_id = {metadata.token("eos_token_id", 2)};
  c.pad_token_id = metadata.token("padding_token_id", c.eos_token_id[0]);
  check_sizes(c, where);
  if (!c.learned_positions) {
    read_layers(metadata, row, c);
    read_attention_scale(c);
    read_rope(file, metadata, row, c);
  }
  validate(c, where);
  return c;
}

}  // namespace blip2
