#include <fmt/format.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/language/decoder_config.h"

namespace blip2 {
namespace {

DecoderFamily read_family(const GgufFile& file, const std::string& name) {
  for (const auto family : {DecoderFamily::llama, DecoderFamily::qwen2, DecoderFamily::gpt2}) {
    if (name == family_name(family)) return family;
  }
  throw Error(fmt::format("general.architecture: '{}' is not known here", name),
              file.path().string(), "known: llama (Mistral too), qwen2, gpt2");
}

}  // namespace

DecoderConfig decoder_config_from_gguf(const GgufFile& file) {
  const std::string where = file.path().string();
  const std::string name = file.string("general.architecture").value_or("(none)");
  const auto size = [&](const char* key, std::uint64_t fallback = 0) {
    const std::uint64_t value = file.integer(name + "." + key).value_or(fallback);
    return static_cast<std::int64_t>(std::min<std::uint64_t>(value, 1ull << 62));
  };
  const auto token = [&](const char* key, std::uint64_t fallback) {
    const auto id = file.integer(std::string("tokenizer.ggml.") + key).value_or(fallback);
    return static_cast<std::int32_t>(std::min<std::uint64_t>(id, INT32_MAX));
  };
  DecoderConfig c;
  c.family = read_family(file, name);
  c.hidden_size = size("embedding_length");
  c.intermediate_size = size("feed_forward_length");
  c.num_hidden_layers = size("block_count");
  c.num_attention_heads = size("attention.head_count");
  c.num_key_value_heads = size("attention.head_count_kv", c.num_attention_heads);
  const std::int64_t heads = std::max<std::int64_t>(c.num_attention_heads, 1);
  c.head_dim = size("rope.dimension_count", c.hidden_size / heads);
  c.max_position_embeddings = size("context_length", 2048);
  const char* eps =
      c.classic() ? ".attention.layer_norm_epsilon" : ".attention.layer_norm_rms_epsilon";
  c.norm_eps = static_cast<float>(file.number(name + eps).value_or(c.classic() ? 1e-5 : 1e-6));
  c.rope_theta = file.number(name + ".rope.freq_base").value_or(c.rope_theta);
  c.qkv_bias = file.find(c.classic() ? "blk.0.attn_qkv.bias" : "blk.0.attn_q.bias") != nullptr;
  c.output_bias = file.find("blk.0.attn_output.bias") != nullptr;
  c.mlp_bias = file.find("blk.0.ffn_up.bias") != nullptr;
  const TensorView& embeddings = file.get("token_embd.weight");
  c.vocab_size = embeddings.shape.empty() ? 0 : embeddings.shape[0];
  c.tie_word_embeddings = file.find("output.weight") == nullptr;
  c.bos_token_id = token("bos_token_id", 1);
  c.eos_token_id = {token("eos_token_id", 2)};
  c.pad_token_id = token("padding_token_id", c.eos_token_id[0]);
  const auto scaling = file.string(name + ".rope.scaling.type");
  if ((scaling && *scaling != "none") || file.find("rope_freqs.weight")) {
    throw Error("scaled rope is not supported in GGUF files", where,
                "give the model as a Hugging Face directory");
  }
  validate(c, where);
  return c;
}

}  // namespace blip2
