#include "blip2/language/decoder_families_internal.h"

#include <string>

namespace blip2 {
namespace {

// Llama's defaults, which the gated families share but for what a row changes.
DecoderConfig gated(DecoderFamily family, std::int64_t intermediate, std::int64_t vocabulary,
                    std::int64_t positions) {
  DecoderConfig c;
  c.family = family;
  c.hidden_size = 4096;
  c.intermediate_size = intermediate;
  c.num_hidden_layers = c.num_attention_heads = 32;
  c.vocab_size = vocabulary;
  c.max_position_embeddings = positions;
  return c;
}

DecoderConfig mistral() {
  DecoderConfig c = gated(DecoderFamily::mistral, 14336, 32000, 131072);
  c.num_key_value_heads = 8;
  c.sliding_window = 4096;
  return c;
}

DecoderConfig qwen2() {
  DecoderConfig c = gated(DecoderFamily::qwen2, 22016, 151936, 32768);
  c.qkv_bias = true;
  c.sliding_window = 4096;
  return c;
}

DecoderConfig qwen3() {
  DecoderConfig c = gated(DecoderFamily::qwen3, 22016, 151936, 32768);
  c.head_dim = 128;
  c.query_key_norm = true;
  c.sliding_window = 4096;
  return c;
}

// OPT's and GPT-2's: LayerNorm, learned positions, biases, an embedding that is the head too.
DecoderConfig layer_norm_decoder(DecoderFamily family, std::int64_t vocabulary,
                                 std::int64_t positions) {
  DecoderConfig c;
  c.family = family;
  c.hidden_size = 768;
  c.num_hidden_layers = c.num_attention_heads = 12;
  c.vocab_size = vocabulary;
  c.max_position_embeddings = positions;
  c.norm_eps = 1e-5f;
  c.tie_word_embeddings = c.qkv_bias = c.output_bias = c.mlp_bias = true;
  c.layer_norm = c.learned_positions = true;
  return c;
}

DecoderConfig opt() {
  DecoderConfig c = layer_norm_decoder(DecoderFamily::opt, 50272, 2048);
  c.intermediate_size = 3072;
  c.bos_token_id = 2, c.pad_token_id = 1;
  c.position_offset = 2;
  c.activation = Activation::relu;
  return c;
}

DecoderConfig gpt2() {
  DecoderConfig c = layer_norm_decoder(DecoderFamily::gpt2, 50257, 1024);
  c.bos_token_id = 50256, c.eos_token_id = {50256};
  c.activation = Activation::gelu_tanh;
  return c;
}

DecoderConfig smollm3() {
  DecoderConfig c = gated(DecoderFamily::smollm3, 11008, 128256, 32768);
  c.hidden_size = 2048;
  c.num_hidden_layers = 36, c.num_attention_heads = 16, c.num_key_value_heads = 4;
  c.rope.theta = 2e6;
  c.tie_word_embeddings = true;
  c.bos_token_id = 128000, c.eos_token_id = {128001}, c.pad_token_id = 128004;
  return c;
}

DecoderConfig gemma3() {
  DecoderConfig c = gated(DecoderFamily::gemma3_text, 9216, 262208, 131072);
  c.hidden_size = 2304;
  c.num_hidden_layers = 26, c.num_attention_heads = 8, c.num_key_value_heads = 4;
  c.head_dim = c.query_pre_attn_scalar = 256;
  c.sliding_window = 4096;
  c.rope.theta = 1e6;
  c.local_rope = Rope{1e4};
  c.tie_word_embeddings = c.scaled_embeddings = c.one_plus_norm = true;
  c.norm_after = c.query_key_norm = true;
  c.activation = Activation::gated_gelu_tanh;
  c.bos_token_id = 2, c.eos_token_id = {1}, c.pad_token_id = 0;
  return c;
}

DecoderConfig phi3() {
  DecoderConfig c = gated(DecoderFamily::phi3, 8192, 32064, 4096);
  c.hidden_size = 3072;
  c.norm_eps = 1e-5f;
  c.eos_token_id = {32000}, c.pad_token_id = 32000;
  return c;
}

DecoderConfig olmo2() {
  DecoderConfig c = gated(DecoderFamily::olmo2, 11008, 50304, 2048);
  c.norm_eps = 1e-5f;
  c.norm_before = false;
  c.norm_after = c.whole_query_key_norm = true;
  c.bos_token_id = -1, c.eos_token_id = {50279}, c.pad_token_id = 1;
  return c;
}

DecoderConfig ministral3() {
  DecoderConfig c = gated(DecoderFamily::ministral3, 14336, 131072, 262144);
  c.num_hidden_layers = 34, c.num_key_value_heads = 8;
  c.head_dim = 128;
  c.norm_eps = 1e-5f;
  c.rope = {1e6, YarnRope{.factor = 16.0, .original_max_position_embeddings = 16384.0}};
  c.query_scale = {0.1, 16384};
  c.pad_token_id = 11;
  return c;
}

}  // namespace

// In the order of DecoderFamily.
std::span<const DecoderFamilyRow> decoder_families() {
  static const DecoderFamilyRow rows[] = {
      {.name = "llama",
       .gguf = "llama",
       .in_gguf = true,
       .defaults = gated(DecoderFamily::llama, 11008, 32000, 2048),
       .names = &kLlamaNames,
       .attention_bias_key = true,
       .mlp_bias_key = true},
      {.name = "mistral",
       .gguf = "llama",
       .in_gguf = false,
       .defaults = mistral(),
       .names = &kLlamaNames,
       .window = WindowKeys::given},
      {.name = "qwen2",
       .gguf = "qwen2",
       .in_gguf = true,
       .defaults = qwen2(),
       .names = &kQwenNames,
       .window = WindowKeys::switched,
       .layers = {.types_key = true, .first_sliding = 28}},
      {.name = "opt",
       .gguf = "opt",
       .in_gguf = false,
       .defaults = opt(),
       .names = &kOptNames,
       .keys = ConfigKeys::opt},
      {.name = "gpt2",
       .gguf = "gpt2",
       .in_gguf = true,
       .defaults = gpt2(),
       .names = &kGpt2Names,
       .keys = ConfigKeys::gpt2},
      {.name = "qwen3",
       .gguf = "qwen3",
       .in_gguf = true,
       .defaults = qwen3(),
       .names = &kQwenNames,
       .attention_bias_key = true,
       .window = WindowKeys::switched,
       .layers = {.types_key = true, .first_sliding = 28}},
      {.name = "smollm3",
       .gguf = "smollm3",
       .in_gguf = true,
       .defaults = smollm3(),
       .names = &kLlamaNames,
       .attention_bias_key = true,
       .mlp_bias_key = true,
       .window = WindowKeys::switched,
       .layers = {.types_key = true, .unrotated = true}},
      {.name = "gemma3_text",
       .gguf = "gemma3",
       .in_gguf = true,
       .defaults = gemma3(),
       .names = &kGemma3Names,
       .attention_bias_key = true,
       .activation_key = "hidden_activation",
       .window = WindowKeys::given,
       .layers = {.types_key = true, .full_period = 6}},
      {.name = "phi3",
       .gguf = "phi3",
       .in_gguf = true,
       .defaults = phi3(),
       .names = &kPhi3Names,
       .partial_rotary = true,
       .window = WindowKeys::given,
       .original_positions = 4096},
      {.name = "olmo2",
       .gguf = "olmo2",
       .in_gguf = true,
       .defaults = olmo2(),
       .names = &kOlmo2Names,
       .attention_bias_key = true},
      {.name = "ministral3",
       .gguf = "mistral3",
       .in_gguf = true,
       .defaults = ministral3(),
       .names = &kLlamaNames,
       .query_scale = true,
       .window = WindowKeys::given},
  };
  return rows;
}

const DecoderFamilyRow& row_of(DecoderFamily family) {
  return decoder_families()[static_cast<std::size_t>(family)];
}

std::string_view family_name(DecoderFamily family) {
  return row_of(family).name;
}

std::vector<bool> every_layer(std::int64_t interval, std::int64_t layers) {
  std::vector<bool> chosen;
  for (std::int64_t i = 1; i <= layers; ++i) chosen.push_back(i % interval == 0);
  return chosen;
}

std::vector<bool> usual_sliding_layers(const LayerRule& rule, const DecoderConfig& config) {
  std::vector<bool> slide;
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const bool full = i < rule.first_sliding ||
                      (rule.full_period > 0 && (i + 1) % rule.full_period == 0) ||
                      (rule.unrotated && config.rotates(i));
    slide.push_back(config.sliding_window > 0 && !full);
  }
  return slide;
}

std::vector<std::string> decoder_family_names() {
  std::vector<std::string> names;
  for (const DecoderFamilyRow& row : decoder_families()) names.emplace_back(row.name);
  return names;
}

}  // namespace blip2
