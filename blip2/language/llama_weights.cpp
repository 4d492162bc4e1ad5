#include "blip2/language/llama_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "blip2/base/error.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

// GGUF's names for Hugging Face's, the layer's number aside.
constexpr std::pair<std::string_view, std::string_view> gguf_names[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
    {"input_layernorm.weight", "attn_norm.weight"},
    {"self_attn.q_proj.weight", "attn_q.weight"},
    {"self_attn.k_proj.weight", "attn_k.weight"},
    {"self_attn.v_proj.weight", "attn_v.weight"},
    {"self_attn.o_proj.weight", "attn_output.weight"},
    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"mlp.gate_proj.weight", "ffn_gate.weight"},
    {"mlp.up_proj.weight", "ffn_up.weight"},
    {"mlp.down_proj.weight", "ffn_down.weight"},
};

std::string gguf_name(const std::string& name) {
  constexpr std::string_view layers = "model.layers.";
  std::string stem = name, block;
  if (name.starts_with(layers)) {
    const std::size_t dot = name.find('.', layers.size());
    block = "blk." + name.substr(layers.size(), dot + 1 - layers.size());
    stem = name.substr(dot + 1);
  }
  for (const auto& [ours, theirs] : gguf_names) {
    if (stem == ours) return block + std::string(theirs);
  }
  return name;
}

// GGUF pairs a head's rows (2 i, 2 i + 1) for rope where Hugging Face pairs (i, i + head_dim / 2).
at::Tensor unpermute(const at::Tensor& weight, std::int64_t heads) {
  const std::int64_t half = weight.size(0) / heads / 2;
  return weight.view({heads, half, 2, weight.size(1)})
      .transpose(1, 2)
      .reshape({weight.size(0), weight.size(1)});
}

class Loader {
 public:
  Loader(std::shared_ptr<const TensorFile> file, const LlamaConfig& config, at::ScalarType dtype,
         std::string prefix)
      : file_(std::move(file)),
        gguf_(dynamic_cast<const GgufFile*>(file_.get()) != nullptr),
        config_(config),
        dtype_(dtype),
        prefix_(std::move(prefix)) {}

  void load(LlamaWeights& weights) {
    const auto tensors = llama_tensors(weights);
    check(tensors);
    for (const LlamaTensor& tensor : tensors) *tensor.tensor = read(tensor.name);
  }

 private:
  std::string file_name(const std::string& name) const {
    return prefix_ + (gguf_ ? gguf_name(name) : name);
  }

  void check(const std::vector<LlamaTensor>& tensors) const {
    std::vector<std::string> faults;
    std::set<std::string> wanted;
    for (const LlamaTensor& tensor : tensors) {
      const std::string name = file_name(tensor.name);
      wanted.insert(name);
      const TensorView* view = file_->find(name);
      if (!view || view->shape != tensor.shape) {
        faults.push_back(fmt::format("{}: expected shape {}, got {}", name,
                                     shape_text(tensor.shape),
                                     view ? shape_text(view->shape) : "none (missing)"));
      }
    }
    if (config_.tie_word_embeddings) wanted.insert(file_name("lm_head.weight"));
    for (const TensorView& view : file_->tensors()) {
      if (!view.name.starts_with(prefix_) || wanted.contains(view.name)) continue;
      faults.push_back(fmt::format("{}: not a tensor of this model", view.name));
    }
    if (faults.empty()) return;
    const std::size_t shown = std::min<std::size_t>(faults.size(), 8);
    throw Error(fmt::format("{} tensor(s) do not fit the language model: {}{}", faults.size(),
                            fmt::join(faults.begin(), faults.begin() + shown, "; "),
                            shown < faults.size() ? "; …" : ""),
                file_->path().string(), "check that its config and its weights belong together");
  }

  at::Tensor read(const std::string& name) const {
    const TensorView& view = file_->get(file_name(name));
    if (scalar_type_of(view.dtype) == dtype_ && !gguf_) return borrow(view, file_);
    if (gguf_ && name.ends_with("q_proj.weight")) {
      return unpermute(to_tensor(view), config_.num_attention_heads).to(dtype_);
    }
    if (gguf_ && name.ends_with("k_proj.weight")) {
      return unpermute(to_tensor(view), config_.num_key_value_heads).to(dtype_);
    }
    return to_tensor(view, dtype_);
  }

  std::shared_ptr<const TensorFile> file_;
  bool gguf_;
  const LlamaConfig& config_;
  at::ScalarType dtype_;
  std::string prefix_;
};

}  // namespace

std::vector<LlamaTensor> llama_tensors(LlamaWeights& weights) {
  const LlamaConfig& c = weights.config;
  const std::int64_t d = c.hidden_size, f = c.intermediate_size;
  std::vector<LlamaTensor> list;
  list.push_back({"model.embed_tokens.weight", &weights.embeddings, {c.vocab_size, d}});
  weights.layers.resize(static_cast<std::size_t>(c.num_hidden_layers));
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    LlamaLayer& layer = weights.layers[i];
    const auto add = [&](const char* name, at::Tensor& tensor, std::vector<std::int64_t> shape) {
      list.push_back({fmt::format("model.layers.{}.{}.weight", i, name), &tensor, shape});
    };
    add("input_layernorm", layer.input_norm, {d});
    add("self_attn.q_proj", layer.q, {c.query_width(), d});
    add("self_attn.k_proj", layer.k, {c.key_width(), d});
    add("self_attn.v_proj", layer.v, {c.key_width(), d});
    add("self_attn.o_proj", layer.o, {d, c.query_width()});
    add("post_attention_layernorm", layer.post_norm, {d});
    add("mlp.gate_proj", layer.gate, {f, d});
    add("mlp.up_proj", layer.up, {f, d});
    add("mlp.down_proj", layer.down, {d, f});
  }
  list.push_back({"model.norm.weight", &weights.norm, {d}});
  if (!c.tie_word_embeddings) list.push_back({"lm_head.weight", &weights.head, {c.vocab_size, d}});
  return list;
}

std::shared_ptr<LlamaWeights> load_llama_weights(std::shared_ptr<const TensorFile> file,
                                                 const LlamaConfig& config, at::ScalarType dtype,
                                                 const std::string& prefix) {
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16, "Llama weights are f32 or bf16");
  const c10::InferenceMode no_inference(false);
  const torch::NoGradGuard no_grad;
  auto weights = std::make_shared<LlamaWeights>();
  weights->config = config;
  weights->dtype = dtype;
  Loader(std::move(file), config, dtype, prefix).load(*weights);
  if (config.tie_word_embeddings) weights->head = weights->embeddings;
  weights->norm_f32 = weights->norm.to(at::kFloat);
  for (LlamaLayer& layer : weights->layers) {
    layer.input_norm_f32 = layer.input_norm.to(at::kFloat);
    layer.post_norm_f32 = layer.post_norm.to(at::kFloat);
  }
  return weights;
}

void LlamaWeights::fuse() {
  const torch::NoGradGuard no_grad;
  for (LlamaLayer& layer : layers) {
    if (layer.qkv.defined()) continue;
    layer.qkv = at::cat({layer.q, layer.k, layer.v});
    layer.gate_up = at::cat({layer.gate, layer.up});
    const auto parts =
        layer.qkv.split_with_sizes({config.query_width(), config.key_width(), config.key_width()});
    layer.q.set_data(parts[0]);
    layer.k.set_data(parts[1]);
    layer.v.set_data(parts[2]);
    layer.gate.set_data(layer.gate_up.narrow(0, 0, config.intermediate_size));
    layer.up.set_data(layer.gate_up.narrow(0, config.intermediate_size, config.intermediate_size));
  }
}

}  // namespace blip2
