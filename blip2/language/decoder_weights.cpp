#include "blip2/language/decoder_weights.h"

#include <fmt/format.h>

#include <set>

#include "blip2/base/error.h"
#include "blip2/io/gguf.h"
#include "blip2/language/tensor_faults.h"
#include "blip2/nn/load_progress.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

// GGUF pairs a head's rows (2 i, 2 i + 1) for rope where Hugging Face pairs (i, i + head_dim / 2).
at::Tensor unpermute(const at::Tensor& weight, std::int64_t heads) {
  const std::int64_t half = weight.size(0) / heads / 2;
  return weight.view({heads, half, 2, -1}).transpose(1, 2).reshape(weight.sizes());
}

class Loader {
 public:
  Loader(std::shared_ptr<const TensorFile> file, const DecoderConfig& config, at::ScalarType dtype,
         std::string prefix)
      : file_(std::move(file)),
        gguf_(dynamic_cast<const GgufFile*>(file_.get()) != nullptr),
        config_(config),
        dtype_(dtype),
        prefix_(std::move(prefix)) {}

  void load(DecoderWeights& weights) {
    const auto tensors = decoder_tensors(weights);
    // A base model's file has no "model." or "transformer." before its names.
    const std::string& first = tensors.front().name;
    const std::size_t base = first.find('.') + 1;
    if (!gguf_ && !file_->find(prefix_ + first) && file_->find(prefix_ + first.substr(base))) {
      dropped_ = first.substr(0, base);
    }
    if (!gguf_) embeddings_ = embeddings_name(config_, *file_, prefix_);
    check(tensors);
    std::uint64_t bytes = 0;
    for (const DecoderTensor& tensor : tensors) bytes += converted_bytes(tensor);
    LoadProgress progress("language model", bytes);
    for (const DecoderTensor& tensor : tensors) {
      *tensor.tensor = read(tensor);
      progress.add(converted_bytes(tensor));
    }
    progress.finish();
  }

  // Takes what has been read of a tensor out of memory, where it lies in the mapped file.
  void release(const DecoderTensor& tensor) const {
    file_->release(file_->get(file_name(tensor.name)));
  }

 private:
  std::string file_name(const std::string& name) const {
    if (gguf_) return prefix_ + gguf_name(config_.family, name);
    if (name == embeddings_.usual && embeddings_.stored != name)
      return prefix_ + embeddings_.stored;
    return prefix_ + (name.starts_with(dropped_) ? name.substr(dropped_.size()) : name);
  }

  std::vector<std::int64_t> file_shape(const DecoderTensor& tensor) const {
    if (gguf_ && tensor.transposed) return {tensor.shape.rbegin(), tensor.shape.rend()};
    return tensor.shape;
  }

  bool passed_over(const std::string& name) const {
    if (gguf_) return config_.tie_word_embeddings && name == file_name("lm_head.weight");
    return is_spare_tensor(config_, name.substr(prefix_.size()));
  }

  void check(const std::vector<DecoderTensor>& tensors) const {
    std::vector<std::string> faults;
    std::set<std::string> wanted;
    for (const DecoderTensor& tensor : tensors) {
      const std::string name = file_name(tensor.name);
      wanted.insert(name);
      const TensorView* view = file_->find(name);
      const std::string fault = tensor_fault(view, name, file_shape(tensor));
      if (!fault.empty()) faults.push_back(fault);
    }
    for (const TensorView& view : file_->tensors()) {
      if (!view.name.starts_with(prefix_) || wanted.contains(view.name)) continue;
      if (!passed_over(view.name)) {
        faults.push_back(fmt::format("{}: not a tensor of this model", view.name));
      }
    }
    refuse_faults(faults, *file_);
  }

  // Of a tensor that does not stay in the file as it is.
  std::uint64_t converted_bytes(const DecoderTensor& tensor) const {
    const TensorView& view = file_->get(file_name(tensor.name));
    const bool mapped = scalar_type_of(view.dtype) == dtype_ && !tensor.transposed;
    return mapped ? 0 : view.data.size();
  }

  at::Tensor read(const DecoderTensor& tensor) const {
    const TensorView& view = file_->get(file_name(tensor.name));
    if (tensor.transposed && !gguf_) return to_tensor(view, dtype_).t().contiguous();
    if (gguf_ && config_.family == DecoderFamily::llama) {
      if (tensor.name.find(".q_proj.") != std::string::npos) {
        return unpermute(to_tensor(view), config_.num_attention_heads).to(dtype_);
      }
      if (tensor.name.find(".k_proj.") != std::string::npos) {
        return unpermute(to_tensor(view), config_.num_key_value_heads).to(dtype_);
      }
    }
    if (scalar_type_of(view.dtype) == dtype_) return borrow(view, file_);
    at::Tensor converted = to_tensor(view, dtype_);
    file_->release(view);
    return converted;
  }

  std::shared_ptr<const TensorFile> file_;
  bool gguf_;
  const DecoderConfig& config_;
  at::ScalarType dtype_;
  std::string prefix_, dropped_;
  EmbeddingsName embeddings_;
};

at::Tensor widened(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.to(at::kFloat).contiguous() : at::Tensor();
}

void widen(DecoderNorm& norm) {
  norm.weight_f32 = widened(norm.weight);
  norm.bias_f32 = widened(norm.bias);
}

// Makes `parts` slices of `whole`.
void slice(const DecoderLinear& whole, std::initializer_list<DecoderLinear*> parts,
           std::initializer_list<std::int64_t> outs) {
  std::int64_t begin = 0;
  auto out = outs.begin();
  for (DecoderLinear* part : parts) {
    part->weight = whole.weight.narrow(0, begin, *out);
    if (whole.bias.defined()) {
      part->bias = whole.bias.narrow(0, begin, *out);
      part->bias_f32 = widened(part->bias);
    }
    begin += *out++;
  }
}

void join(DecoderLinear& whole, std::initializer_list<DecoderLinear*> parts,
          std::initializer_list<std::int64_t> outs) {
  std::vector<at::Tensor> weights, biases;
  for (const DecoderLinear* part : parts) {
    weights.push_back(part->weight);
    if (part->bias.defined()) biases.push_back(part->bias);
  }
  whole.weight = at::cat(weights);
  if (!biases.empty()) whole.bias = at::cat(biases);
  slice(whole, parts, outs);
}

void fuse(DecoderLayer& layer, const DecoderConfig& c) {
  if (layer.gate_up.weight.defined()) return;
  if (!layer.qkv.weight.defined()) {
    join(layer.qkv, {&layer.q, &layer.k, &layer.v},
         {c.query_width(), c.key_width(), c.key_width()});
  }
  if (layer.gate.weight.defined()) {
    join(layer.gate_up, {&layer.gate, &layer.up}, {c.intermediate_size, c.intermediate_size});
  } else {
    layer.gate_up = layer.up;
  }
}

void quantise(DecoderLayer& layer, const DecoderConfig& c) {
  fuse(layer, c);
  for (DecoderLinear* whole : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
    whole->int8 = to_int8(whole->weight);
    whole->weight = at::Tensor();
  }
  for (DecoderLinear* slice : {&layer.q, &layer.k, &layer.v, &layer.gate, &layer.up}) *slice = {};
}

void finish(DecoderLayer& layer, const DecoderConfig& c) {
  widen(layer.input_norm);
  widen(layer.post_norm);
  if (layer.qkv.weight.defined()) {
    slice(layer.qkv, {&layer.q, &layer.k, &layer.v},
          {c.query_width(), c.key_width(), c.key_width()});
  }
  for (DecoderLinear* linear :
       {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
    linear->bias_f32 = widened(linear->bias);
  }
}

}  // namespace

std::vector<std::pair<std::string, at::Tensor>> tensors_to_save(DecoderWeights& weights) {
  std::vector<std::pair<std::string, at::Tensor>> list;
  for (const DecoderTensor& entry : decoder_tensors(weights)) {
    const at::Tensor& tensor = *entry.tensor;
    list.emplace_back(entry.name, (entry.transposed ? tensor.t() : tensor).contiguous());
  }
  return list;
}

bool is_spare_tensor(const DecoderConfig& config, std::string_view name) {
  if (is_old_buffer(name)) return true;
  if (config.tie_word_embeddings && name == "lm_head.weight") return true;
  return config.family == DecoderFamily::gpt2 &&
         (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"));
}

EmbeddingsName embeddings_name(const DecoderConfig& config, const TensorFile& file,
                               const std::string& prefix) {
  DecoderWeights weights;
  weights.config = config;
  const std::string usual = decoder_tensors(weights).front().name;
  if (!config.tie_word_embeddings) return {usual, usual};
  // A base model's file has the usual name without its first word.
  const std::string base = usual.substr(usual.find('.') + 1);
  if (file.find(prefix + base)) return {usual, usual};
  return find_embeddings(file, prefix, usual, {"lm_head.weight"});
}

std::shared_ptr<DecoderWeights> load_decoder_weights(std::shared_ptr<const TensorFile> file,
                                                     const DecoderConfig& config,
                                                     at::ScalarType dtype,
                                                     const std::string& prefix, bool int8) {
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf,
              "a decoder's weights are f32, bf16 or f16");
  const c10::InferenceMode no_inference(false);
  const torch::NoGradGuard no_grad;
  auto weights = std::make_shared<DecoderWeights>();
  weights->config = config;
  weights->dtype = dtype;
  Loader loader(std::move(file), config, dtype, prefix);
  loader.load(*weights);
  if (config.tie_word_embeddings) weights->head = weights->embeddings;
  widen(weights->norm);
  for (DecoderLayer& layer : weights->layers) finish(layer, config);
  weights->int8 = int8;
  if (!int8) return weights;
  std::set<std::string> released;
  const auto tensors = decoder_tensors(*weights);
  for (DecoderLayer& layer : weights->layers) {
    quantise(layer, config);
    for (const DecoderTensor& tensor : tensors) {
      if (!tensor.tensor->defined() && released.insert(tensor.name).second) loader.release(tensor);
    }
  }
  return weights;
}

void DecoderWeights::fuse() {
  const torch::NoGradGuard no_grad;
  if (int8) return;
  for (DecoderLayer& layer : layers) blip2::fuse(layer, config);
}

}  // namespace blip2
