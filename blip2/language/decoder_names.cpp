#include <fmt/format.h>

#include "blip2/language/decoder_weights.h"

namespace blip2 {
namespace {

using Shape = std::vector<std::int64_t>;

// What a family calls its tensors; names of a layer's parts follow "<layers><number>.".
struct Names {
  const char *embeddings, *positions, *norm, *layers;
  const char *input_norm, *q, *k, *v, *qkv, *o, *post_norm, *gate, *up, *down;
};

constexpr Names llama_names = {"model.embed_tokens",
                               "",
                               "model.norm",
                               "model.layers.",
                               "input_layernorm",
                               "self_attn.q_proj",
                               "self_attn.k_proj",
                               "self_attn.v_proj",
                               "",
                               "self_attn.o_proj",
                               "post_attention_layernorm",
                               "mlp.gate_proj",
                               "mlp.up_proj",
                               "mlp.down_proj"};
constexpr Names opt_names = {"model.decoder.embed_tokens",
                             "model.decoder.embed_positions",
                             "model.decoder.final_layer_norm",
                             "model.decoder.layers.",
                             "self_attn_layer_norm",
                             "self_attn.q_proj",
                             "self_attn.k_proj",
                             "self_attn.v_proj",
                             "",
                             "self_attn.out_proj",
                             "final_layer_norm",
                             "",
                             "fc1",
                             "fc2"};
constexpr Names gpt2_names = {"transformer.wte",
                              "transformer.wpe",
                              "transformer.ln_f",
                              "transformer.h.",
                              "ln_1",
                              "",
                              "",
                              "",
                              "attn.c_attn",
                              "attn.c_proj",
                              "ln_2",
                              "",
                              "mlp.c_fc",
                              "mlp.c_proj"};
constexpr Names gguf_names = {
    "token_embd", "position_embd", "output_norm", "blk.",     "attn_norm", "attn_q", "attn_k",
    "attn_v",     "attn_qkv",      "attn_output", "ffn_norm", "ffn_gate",  "ffn_up", "ffn_down"};

const Names& names_of(DecoderFamily family) {
  if (family == DecoderFamily::opt) return opt_names;
  return family == DecoderFamily::gpt2 ? gpt2_names : llama_names;
}

class Lister {
 public:
  explicit Lister(DecoderWeights& weights) : weights_(weights), c_(weights.config) {}

  std::vector<DecoderTensor> list() {
    const std::int64_t d = c_.hidden_size;
    add(names_.embeddings, "weight", weights_.embeddings, {c_.vocab_size, d});
    if (c_.classic()) {
      add(names_.positions, "weight", weights_.positions,
          {c_.max_position_embeddings + c_.position_offset(), d});
    }
    weights_.layers.resize(static_cast<std::size_t>(c_.num_hidden_layers));
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      layer(fmt::format("{}{}.", names_.layers, i), weights_.layers[i]);
    }
    norm(names_.norm, weights_.norm);
    if (!c_.tie_word_embeddings) add("lm_head", "weight", weights_.head, {c_.vocab_size, d});
    return std::move(list_);
  }

 private:
  void layer(const std::string& at, DecoderLayer& layer) {
    const std::int64_t d = c_.hidden_size, f = c_.intermediate_size;
    norm(at + names_.input_norm, layer.input_norm);
    if (*names_.qkv) {
      linear(at + names_.qkv, layer.qkv, c_.qkv_width(), d, c_.qkv_bias);
    } else {
      linear(at + names_.q, layer.q, c_.query_width(), d, c_.qkv_bias);
      linear(at + names_.k, layer.k, c_.key_width(), d, c_.qkv_bias);
      linear(at + names_.v, layer.v, c_.key_width(), d, c_.qkv_bias);
    }
    linear(at + names_.o, layer.o, d, c_.query_width(), c_.output_bias);
    norm(at + names_.post_norm, layer.post_norm);
    if (*names_.gate) linear(at + names_.gate, layer.gate, f, d, c_.mlp_bias);
    linear(at + names_.up, layer.up, f, d, c_.mlp_bias);
    linear(at + names_.down, layer.down, d, f, c_.mlp_bias);
  }
  void norm(const std::string& name, DecoderNorm& norm) {
    add(name, "weight", norm.weight, {c_.hidden_size});
    if (c_.classic()) add(name, "bias", norm.bias, {c_.hidden_size});
  }
  void linear(const std::string& name, DecoderLinear& linear, std::int64_t out, std::int64_t in,
              bool bias) {
    const bool transposed = c_.family == DecoderFamily::gpt2;
    add(name, "weight", linear.weight, transposed ? Shape{in, out} : Shape{out, in});
    list_.back().transposed = transposed;
    if (bias) add(name, "bias", linear.bias, {out});
  }
  void add(const std::string& name, const char* kind, at::Tensor& tensor, Shape shape) {
    list_.push_back({name + "." + kind, &tensor, std::move(shape)});
  }

  DecoderWeights& weights_;
  const DecoderConfig& c_;
  const Names& names_ = names_of(c_.family);
  std::vector<DecoderTensor> list_;
};

}  // namespace

std::vector<DecoderTensor> decoder_tensors(DecoderWeights& weights) {
  return Lister(weights).list();
}

std::string gguf_name(DecoderFamily family, const std::string& name) {
  const Names& ours = names_of(family);
  const std::size_t dot = name.rfind('.');
  std::string stem = name.substr(0, dot), block;
  const std::string kind = name.substr(dot), layers = ours.layers;
  if (stem.starts_with(layers)) {
    const std::size_t end = stem.find('.', layers.size());
    block = "blk." + stem.substr(layers.size(), end + 1 - layers.size());
    stem = stem.substr(end + 1);
  }
  constexpr const char* Names::*global[] = {&Names::embeddings, &Names::positions, &Names::norm};
  constexpr const char* Names::*local[] = {
      &Names::input_norm, &Names::q,         &Names::k,    &Names::v,  &Names::qkv,
      &Names::o,          &Names::post_norm, &Names::gate, &Names::up, &Names::down};
  if (stem == "lm_head") return "output" + kind;
  if (block.empty()) {
    for (const auto member : global) {
      if (stem == ours.*member) return gguf_names.*member + kind;
    }
  }
  for (const auto member : local) {
    if (stem == ours.*member) return block + gguf_names.*member + kind;
  }
  return name;
}

}  // namespace blip2
