#include "blip2/language/t5_weights.h"

#include <fmt/format.h>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

constexpr const char* head_name = "lm_head.weight";

// Collects the weights of one stack.
class Names {
 public:
  Names(const T5Config& config, std::vector<TensorSlot>& list) : c_(config), list_(list) {}

  void add_stack(const char* name, bool decoder, T5Stack& stack) {
    const auto count = decoder ? c_.num_decoder_layers : c_.num_layers;
    stack.layers.resize(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < stack.layers.size(); ++i) {
      T5Layer& layer = stack.layers[i];
      const std::string block = fmt::format("{}.block.{}.layer.", name, i);
      add_attention(block + "0", ".SelfAttention.", layer.self);
      if (i == 0) {
        add(block + "0.SelfAttention.relative_attention_bias", stack.bias,
            {c_.relative_attention_num_buckets, c_.num_heads});
      }
      if (decoder) add_attention(block + "1", ".EncDecAttention.", layer.cross);
      add_feed_forward(block + (decoder ? "2" : "1"), layer.feed_forward);
    }
    add_norm(fmt::format("{}.final_layer_norm", name), stack.norm);
  }

  void add(const std::string& name, at::Tensor& tensor, std::vector<std::int64_t> shape) {
    list_.push_back({name + ".weight", &tensor, std::move(shape)});
  }

 private:
  void add_matrix(const std::string& name, Linear& linear, std::vector<std::int64_t> shape) {
    linear.parts.resize(1);
    add(name, linear.parts[0].weight, std::move(shape));
    list_.back().linear = &linear;
  }

  void add_norm(const std::string& name, Norm& norm) {
    norm.kind = Norm::Kind::rms;
    norm.eps = c_.layer_norm_epsilon;
    add(name, norm.weight, {c_.d_model});
    list_.back().norm = &norm;
  }

  void add_attention(const std::string& layer, const char* kind, T5Attention& weights) {
    const std::int64_t inner = c_.inner_width(), d = c_.d_model;
    add_matrix(layer + kind + "q", weights.q, {inner, d});
    add_matrix(layer + kind + "k", weights.k, {inner, d});
    add_matrix(layer + kind + "v", weights.v, {inner, d});
    add_matrix(layer + kind + "o", weights.o, {d, inner});
    add_norm(layer + ".layer_norm", weights.norm);
  }

  void add_feed_forward(const std::string& layer, T5FeedForward& weights) {
    const std::int64_t f = c_.d_ff, d = c_.d_model;
    weights.exact_gelu = c_.exact_gelu;
    if (c_.gated_gelu) {
      add_matrix(layer + ".DenseReluDense.wi_0", weights.gate, {f, d});
      add_matrix(layer + ".DenseReluDense.wi_1", weights.up, {f, d});
    } else {
      add_matrix(layer + ".DenseReluDense.wi", weights.up, {f, d});
    }
    add_matrix(layer + ".DenseReluDense.wo", weights.down, {d, f});
    add_norm(layer + ".layer_norm", weights.norm);
  }

  const T5Config& c_;
  std::vector<TensorSlot>& list_;
};

}  // namespace

std::vector<TensorSlot> t5_tensors(T5Weights& weights) {
  const T5Config& c = weights.config;
  std::vector<TensorSlot> list;
  Names names(c, list);
  names.add("shared", weights.embeddings, {c.vocab_size, c.d_model});
  names.add_stack("encoder", false, weights.encoder);
  names.add_stack("decoder", true, weights.decoder);
  names.add("lm_head", weights.head, {c.vocab_size, c.d_model});
  return list;
}

std::vector<std::string> spare_tensors(const T5Config& /*config*/) {
  return {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
          "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"};
}

EmbeddingsName embeddings_name(const T5Config& config, const TensorFile& file,
                               const std::string& prefix) {
  constexpr const char *kUsual = "shared.weight", *kOfDecoder = "decoder.embed_tokens.weight",
                       *kOfEncoder = "encoder.embed_tokens.weight";
  // In T5's configuration a tied head and scaled outputs are one.
  if (!config.scale_decoder_outputs) {
    return find_embeddings(file, prefix, kUsual, {kOfDecoder, kOfEncoder});
  }
  return find_embeddings(file, prefix, kUsual, {kOfDecoder, kOfEncoder, head_name});
}

std::shared_ptr<T5Weights> load_t5_weights(std::shared_ptr<const TensorFile> file,
                                           const T5Config& config, at::ScalarType dtype,
                                           const std::string& prefix, MatrixForm form) {
  if (dtype == at::kHalf) {
    throw Error("T5 is not run in f16: its activations overflow that type and become NaN",
                file->path().string(), "ask for bf16 or f32");
  }
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16, "T5 weights are f32 or bf16");
  auto weights = std::make_shared<T5Weights>();
  weights->config = config;
  weights->dtype = dtype;
  std::vector<TensorSlot> slots = t5_tensors(*weights);
  slots.front().name = embeddings_name(config, *file, prefix).stored;
  adopt(file, slots,
        {.part = "language model",
         .type = dtype,
         .form = form,
         .prefix = prefix,
         .optional = {head_name},
         .ignored = spare_tensors(config)});
  if (!weights->head.defined()) weights->head = weights->embeddings;
  return weights;
}

}  // namespace blip2
