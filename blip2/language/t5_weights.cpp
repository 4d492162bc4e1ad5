#include "blip2/language/t5_weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/io/gguf.h"
#include "blip2/language/gguf_tensors_internal.h"
#include "blip2/language/lora.h"
#include "blip2/nn/adopt.h"
#include "blip2/nn/tensor_bridge.h"

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
      layer_ = static_cast<std::int64_t>(i);
      const std::string block = fmt::format("{}.block.{}.layer.", name, i);
      add_attention(block + "0", ".SelfAttention.", layer.self);
      if (i == 0) {
        add(block + "0.SelfAttention.relative_attention_bias", stack.bias,
            {c_.relative_attention_num_buckets, c_.num_heads});
      }
      if (decoder) add_attention(block + "1", ".EncDecAttention.", layer.cross);
      add_feed_forward(block + (decoder ? "2" : "1"), layer.feed_forward);
    }
    layer_ = -1;
    add_norm(fmt::format("{}.final_layer_norm", name), stack.norm);
  }

  void add(const std::string& name, at::Tensor& tensor, std::vector<std::int64_t> shape) {
    list_.push_back({name + ".weight", &tensor, std::move(shape)});
    list_.back().layer = layer_;
  }

 private:
  void add_matrix(const std::string& name, Linear& linear, std::vector<std::int64_t> shape) {
    linear.parts.resize(1);
    add(name, linear.parts[0].weight, std::move(shape));
    list_.back().linear = &linear;
    list_.back().blocks = &linear.parts[0].blocks;
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
  std::int64_t layer_ = -1;
};

// The slots by the names that the file has.
std::vector<TensorSlot> stored_tensors(T5Weights& weights, const TensorFile& file,
                                       const std::string& prefix) {
  std::vector<TensorSlot> slots = t5_tensors(weights);
  if (!is_gguf(file)) {
    slots.front().name = embeddings_name(weights.config, file, prefix).stored;
    return slots;
  }
  for (TensorSlot& slot : slots) slot.name = t5_gguf_name(slot.name);
  return slots;
}

AdoptOptions adopt_options(const T5Config& config, const TensorFile& file,
                           const std::string& prefix) {
  AdoptOptions options{.part = "language model", .prefix = prefix};
  options.optional = {is_gguf(file) ? t5_gguf_name(head_name) : head_name};
  if (!is_gguf(file)) options.ignored = spare_tensors(config);
  return options;
}

// A head that the file does not have has the numbers of the word embeddings, in blocks of its own
// if those are in blocks.
void complete_head(T5Weights& weights, const std::shared_ptr<const TensorFile>& file,
                   const std::string& words) {
  Linear::Part& head = weights.head.parts.at(0);
  if (head.weight.defined() || head.blocks.defined()) return;
  head.weight = weights.embeddings.values;
  if (head.weight.defined()) return;
  head.blocks = BlockMatrix(file->get(words), {}, file->path().string());
}

}  // namespace

std::vector<TensorSlot> t5_tensors(T5Weights& weights) {
  const T5Config& c = weights.config;
  std::vector<TensorSlot> list;
  Names names(c, list);
  names.add("shared", weights.embeddings.values, {c.vocab_size, c.d_model});
  list.back().table = &weights.embeddings;
  names.add_stack("encoder", false, weights.encoder);
  names.add_stack("decoder", true, weights.decoder);
  weights.head.parts.resize(1);
  names.add("lm_head", weights.head.parts[0].weight, {c.vocab_size, c.d_model});
  list.back().blocks = &weights.head.parts[0].blocks;
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
  const std::vector<TensorSlot> slots = stored_tensors(*weights, *file, prefix);
  AdoptOptions options = adopt_options(config, *file, prefix);
  options.type = dtype, options.form = form;
  adopt(file, slots, options);
  complete_head(*weights, file, prefix + slots.front().name);
  weights->head.hold(form == MatrixForm::blocks ? form : MatrixForm::stored);
  return weights;
}

std::vector<GgufTensor> gguf_tensors(std::shared_ptr<const TensorFile> file, const T5Config& config,
                                     const std::string& prefix, const LoraAdapters* merged) {
  T5Weights places;
  places.config = config;
  const std::vector<TensorSlot> from = stored_tensors(places, *file, prefix),
                                to = t5_tensors(places);
  check_slots(file, from, adopt_options(config, *file, prefix));
  const TensorView& words = file->get(prefix + from.front().name);
  std::vector<GgufTensor> list;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const TensorView* view = file->find(prefix + from[i].name);
    if (to[i].name == head_name && (!view || std::ranges::equal(view->data, words.data))) continue;
    const auto read = [view, file, merged, module = to[i].name] {
      const at::Tensor values = to_tensor(*view, at::kFloat).contiguous();
      return merged ? merged->merged(module, values) : values;
    };
    list.push_back({t5_gguf_name(to[i].name), to[i].shape, to[i].layer, read});
  }
  return list;
}

}  // namespace blip2
