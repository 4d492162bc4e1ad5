#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/language/decoder_families_internal.h"

namespace blip2 {
namespace {

const DecoderFamilyRow& read_family(const GgufFile& file, const std::string& name) {
  std::vector<std::string> known;
  for (const DecoderFamilyRow& row : decoder_families()) {
    if (!row.in_gguf) continue;
    if (row.name == name) return row;
    known.push_back(std::string(row.name) + (row.name == "llama" ? " (Mistral too)" : ""));
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
  std::int32_t token(const char* key, std::uint64_t fallback) const {
    const auto id = file_.integer(std::string("tokenizer.ggml.") + key).value_or(fallback);
    return static_cast<std::int32_t>(std::min<std::uint64_t>(id, INT32_MAX));
  }

 private:
  const GgufFile& file_;
  std::string architecture_;
};

void read_sizes(const Metadata& metadata, DecoderConfig& c, const std::string& where) {
  c.hidden_size = metadata.size("embedding_length");
  c.intermediate_size = metadata.size("feed_forward_length");
  c.num_hidden_layers = metadata.size("block_count");
  c.num_attention_heads = metadata.size("attention.head_count");
  c.num_key_value_heads = metadata.size("attention.head_count_kv", c.num_attention_heads);
  const std::int64_t rotated = metadata.size("rope.dimension_count");
  const std::int64_t shared = c.hidden_size / std::max<std::int64_t>(c.num_attention_heads, 1);
  c.head_dim = metadata.size("attention.key_length", rotated > 0 ? rotated : shared);
  need(rotated == 0 || rotated == c.head_dim,
       fmt::format("rope.dimension_count: expected a head's {}, got {}", c.head_dim, rotated),
       where);
  c.max_position_embeddings = metadata.size("context_length", 2048);
  c.norm_eps = static_cast<float>(metadata.number(
      c.layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
      c.norm_eps));
  c.rope_theta = metadata.number("rope.freq_base", c.rope_theta);
}

}  // namespace

DecoderConfig decoder_config_from_gguf(const GgufFile& file) {
  const std::string where = file.path().string();
  const std::string name = file.string("general.architecture").value_or("(none)");
  const DecoderFamilyRow& row = read_family(file, name);
  const Metadata metadata(file, name);
  DecoderConfig c = row.defaults;
  read_sizes(metadata, c, where);
  c.qkv_bias = file.find(*row.names->qkv ? "blk.0.attn_qkv.bias" : "blk.0.attn_q.bias") != nullptr;
  c.output_bias = file.find("blk.0.attn_output.bias") != nullptr;
  c.mlp_bias = file.find("blk.0.ffn_up.bias") != nullptr;
  const TensorView& embeddings = file.get("token_embd.weight");
  c.vocab_size = embeddings.shape.empty() ? 0 : embeddings.shape[0];
  c.tie_word_embeddings = file.find("output.weight") == nullptr;
  c.bos_token_id = metadata.token("bos_token_id", 1);
  c.eos_token_id = {metadata.token("eos_token_id", 2)};
  c.pad_token_id = metadata.token("padding_token_id", c.eos_token_id[0]);
  const auto scaling = file.string(name + ".rope.scaling.type");
  if ((scaling && *scaling != "none") || file.find("rope_freqs.weight")) {
    throw Error("scaled rope is not supported in GGUF files", where,
                "give the model as a Hugging Face directory");
  }
  validate(c, where);
  return c;
}

}  // namespace blip2
