#include "blip2/language/decoder_names_internal.h"

#include <fmt/format.h>

#include "blip2/language/decoder_families_internal.h"
#include "blip2/language/decoder_weights.h"

namespace blip2 {
namespace {

using Shape = std::vector<std::int64_t>;

constexpr DecoderNames kLlama{.embeddings = "model.embed_tokens",
                              .norm = "model.norm",
                              .layers = "model.layers.",
                              .input_norm = "input_layernorm",
                              .q = "self_attn.q_proj",
                              .k = "self_attn.k_proj",
                              .v = "self_attn.v_proj",
                              .q_norm = "self_attn.q_norm",
                              .k_norm = "self_attn.k_norm",
                              .o = "self_attn.o_proj",
                              .post_norm = "post_attention_layernorm",
                              .gate = "mlp.gate_proj",
                              .up = "mlp.up_proj",
                              .down = "mlp.down_proj"};

constexpr DecoderNames with_paired_rows(DecoderNames names) {
  names.paired_rows = true;
  return names;
}

// Puts the tensors of one model's weights into a list.
class Lister {
 public:
  Lister(DecoderWeights& weights, bool gguf)
      : weights_(weights),
        family_(*row_of(weights.config.family).names),
        names_(gguf ? kGgufNames : family_),
        transposed_(family_.transposed && !gguf),
        paired_rows_(family_.paired_rows && gguf),
        plus_(weights.config.one_plus_norm && gguf ? -1.0 : 0.0) {}

  std::vector<TensorSlot> list() {
    const std::int64_t d = c_.hidden_size;
    add(names_.embeddings, "weight", weights_.embeddings.values, {c_.vocab_size, d}).table =
        &weights_.embeddings;
    if (c_.learned_positions) {
      add(names_.positions, "weight", weights_.positions,
          {c_.max_position_embeddings + c_.position_offset, d});
    }
    weights_.layers.resize(static_cast<std::size_t>(c_.num_hidden_layers));
    for (std::int64_t i = 0; i < c_.num_hidden_layers; ++i) {
      layer_ = i;
      layer(fmt::format("{}{}.", names_.layers, i), weights_.layers[static_cast<std::size_t>(i)]);
    }
    layer_ = -1;
    norm(names_.norm, weights_.norm, d);
    weights_.head.parts.resize(1);
    Linear::Part& head = weights_.head.parts[0];
    if (!c_.tie_word_embeddings) {
      add(names_.head, "weight", head.weight, {c_.vocab_size, d}).blocks = &head.blocks;
    }
    return std::move(list_);
  }

 private:
  struct Matrix {
    const char* name;
    std::int64_t outs;
    std::int64_t heads = 0;  // that rotate
  };

  void layer(const std::string& at, DecoderLayer& layer) {
    const std::int64_t d = c_.hidden_size, f = c_.intermediate_size;
    if (c_.norm_before) norm(at + names_.input_norm, layer.input_norm, d);
    if (*family_.qkv) {
      linear(at, layer.qkv, {{names_.qkv, c_.qkv_width()}}, d, c_.qkv_bias);
    } else {
      linear(at, layer.qkv,
             {{names_.q, c_.query_width(), c_.num_attention_heads},
              {names_.k, c_.key_width(), c_.num_key_value_heads},
              {names_.v, c_.key_width()}},
             d, c_.qkv_bias);
    }
    if (c_.norms_queries()) {
      const bool whole = c_.whole_query_key_norm;
      norm(at + names_.q_norm, layer.query_norm, whole ? c_.query_width() : c_.head_dim);
      norm(at + names_.k_norm, layer.key_norm, whole ? c_.key_width() : c_.head_dim);
    }
    linear(at, layer.o, {{names_.o, d}}, c_.query_width(), c_.output_bias);
    if (c_.norm_after) norm(at + names_.attention_norm, layer.attention_norm, d);
    if (c_.norm_before) norm(at + names_.post_norm, layer.post_norm, d);
    if (*family_.gate) {
      linear(at, layer.gate_up, {{names_.gate, f}, {names_.up, f}}, d, c_.mlp_bias);
    } else {
      linear(at, layer.gate_up, {{names_.up, c_.up_width()}}, d, c_.mlp_bias);
    }
    linear(at, layer.down, {{names_.down, d}}, f, c_.mlp_bias);
    if (c_.norm_after) norm(at + names_.feed_forward_norm, layer.feed_forward_norm, d);
  }

  void norm(const std::string& name, Norm& norm, std::int64_t width) {
    norm.kind = c_.layer_norm ? Norm::Kind::layer : Norm::Kind::rms;
    norm.eps = c_.norm_eps;
    norm.one_plus = c_.one_plus_norm;
    TensorSlot& weight = add(name, "weight", norm.weight, {width});
    weight.norm = &norm;
    weight.change.plus = plus_;
    if (c_.layer_norm) add(name, "bias", norm.bias, {width}).norm = &norm;
  }

  // Matrices [outs, in] that read the same rows.
  void linear(const std::string& at, Linear& linear, std::initializer_list<Matrix> matrices,
              std::int64_t in, bool bias) {
    linear.parts.resize(matrices.size());
    const std::size_t first = list_.size();
    auto part = linear.parts.begin();
    for (const auto& [name, outs, heads] : matrices) {
      const std::int64_t pairs = paired_rows_ ? heads : 0;
      TensorSlot& weight =
          add(at + name, "weight", part->weight, transposed_ ? Shape{in, outs} : Shape{outs, in});
      weight.change = {.transposed = transposed_, .paired_heads = pairs};
      weight.blocks = &part->blocks;
      if (bias) add(at + name, "bias", part->bias, {outs}).change.paired_heads = pairs;
      ++part;
    }
    for (std::size_t i = first; i < list_.size(); ++i) list_[i].linear = &linear;
  }

  TensorSlot& add(const std::string& name, const char* kind, at::Tensor& tensor, Shape shape) {
    list_.push_back({name + "." + kind, &tensor, std::move(shape)});
    list_.back().layer = layer_;
    return list_.back();
  }

  DecoderWeights& weights_;
  const DecoderConfig& c_ = weights_.config;
  const DecoderNames &family_, &names_;
  bool transposed_, paired_rows_;
  double plus_;  // to norms' weights: GGUF files have 1 + weight
  std::int64_t layer_ = -1;
  std::vector<TensorSlot> list_;
};

}  // namespace

const DecoderNames kGgufNames{.embeddings = "token_embd",
                              .positions = "position_embd",
                              .norm = "output_norm",
                              .head = "output",
                              .layers = "blk.",
                              .input_norm = "attn_norm",
                              .q = "attn_q",
                              .k = "attn_k",
                              .v = "attn_v",
                              .qkv = "attn_qkv",
                              .q_norm = "attn_q_norm",
                              .k_norm = "attn_k_norm",
                              .o = "attn_output",
                              .attention_norm = "post_attention_norm",
                              .post_norm = "ffn_norm",
                              .gate = "ffn_gate",
                              .up = "ffn_up",
                              .down = "ffn_down",
                              .feed_forward_norm = "post_ffw_norm"};

const DecoderNames kLlamaNames = with_paired_rows(kLlama), kQwenNames = kLlama;

const DecoderNames kGemma3Names{.embeddings = "model.embed_tokens",
                                .norm = "model.norm",
                                .layers = "model.layers.",
                                .input_norm = "input_layernorm",
                                .q = "self_attn.q_proj",
                                .k = "self_attn.k_proj",
                                .v = "self_attn.v_proj",
                                .q_norm = "self_attn.q_norm",
                                .k_norm = "self_attn.k_norm",
                                .o = "self_attn.o_proj",
                                .attention_norm = "post_attention_layernorm",
                                .post_norm = "pre_feedforward_layernorm",
                                .gate = "mlp.gate_proj",
                                .up = "mlp.up_proj",
                                .down = "mlp.down_proj",
                                .feed_forward_norm = "post_feedforward_layernorm"};

const DecoderNames kPhi3Names{.embeddings = "model.embed_tokens",
                              .norm = "model.norm",
                              .layers = "model.layers.",
                              .input_norm = "input_layernorm",
                              .qkv = "self_attn.qkv_proj",
                              .o = "self_attn.o_proj",
                              .post_norm = "post_attention_layernorm",
                              .up = "mlp.gate_up_proj",
                              .down = "mlp.down_proj"};

const DecoderNames kOlmo2Names{.embeddings = "model.embed_tokens",
                               .norm = "model.norm",
                               .layers = "model.layers.",
                               .q = "self_attn.q_proj",
                               .k = "self_attn.k_proj",
                               .v = "self_attn.v_proj",
                               .q_norm = "self_attn.q_norm",
                               .k_norm = "self_attn.k_norm",
                               .o = "self_attn.o_proj",
                               .attention_norm = "post_attention_layernorm",
                               .gate = "mlp.gate_proj",
                               .up = "mlp.up_proj",
                               .down = "mlp.down_proj",
                               .feed_forward_norm = "post_feedforward_layernorm"};

const DecoderNames kOptNames{.embeddings = "model.decoder.embed_tokens",
                             .positions = "model.decoder.embed_positions",
                             .norm = "model.decoder.final_layer_norm",
                             .layers = "model.decoder.layers.",
                             .input_norm = "self_attn_layer_norm",
                             .q = "self_attn.q_proj",
                             .k = "self_attn.k_proj",
                             .v = "self_attn.v_proj",
                             .o = "self_attn.out_proj",
                             .post_norm = "final_layer_norm",
                             .up = "fc1",
                             .down = "fc2"};

const DecoderNames kGpt2Names{.embeddings = "transformer.wte",
                              .positions = "transformer.wpe",
                              .norm = "transformer.ln_f",
                              .layers = "transformer.h.",
                              .input_norm = "ln_1",
                              .qkv = "attn.c_attn",
                              .o = "attn.c_proj",
                              .post_norm = "ln_2",
                              .up = "mlp.c_fc",
                              .down = "mlp.c_proj",
                              .transposed = true,
                              .buffer = ".attn.bias",
                              .other_buffer = ".attn.masked_bias"};

std::vector<TensorSlot> decoder_tensors(DecoderWeights& weights, bool gguf) {
  return Lister(weights, gguf).list();
}

}  // namespace blip2
