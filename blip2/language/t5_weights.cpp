#include "blip2/language/t5_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "blip2/base/error.h"
#include "blip2/io/gguf.h"
#include "blip2/language/gguf_tensors.h"
#include "blip2/language/tensor_faults.h"
#include "blip2/nn/load_progress.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

constexpr const char* head_name = "lm_head.weight";

constexpr const char* passed_over[] = {
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
    "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
};

// Collects the weights of one stack.
class Names {
 public:
  Names(const T5Config& config, std::vector<T5Tensor>& list) : c_(config), list_(list) {}

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
    list_.push_back({name + ".weight", &tensor, std::move(shape), layer_});
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
  std::vector<T5Tensor>& list_;
  std::int64_t layer_ = -1;
};

// Where a file has the tensors of a T5.
class Source {
 public:
  Source(std::shared_ptr<const TensorFile> file, const T5Config& config, std::string prefix)
      : file_(std::move(file)),
        gguf_(dynamic_cast<const GgufFile*>(file_.get()) != nullptr),
        prefix_(std::move(prefix)) {
    if (!gguf_) embeddings_ = embeddings_name(config, *file_, prefix_);
  }

  const std::shared_ptr<const TensorFile>& file() const { return file_; }
  // Null if the file does not have it.
  const TensorView* find(const T5Tensor& tensor) const { return file_->find(name(tensor)); }

  void check(const T5Config& config, const std::vector<T5Tensor>& tensors) const {
    std::vector<std::string> faults;
    std::set<std::string> known;
    for (const T5Tensor& tensor : tensors) {
      known.insert(name(tensor));
      const TensorView* view = find(tensor);
      if (!view && tensor.name == head_name) continue;
      const std::string fault = tensor_fault(view, name(tensor), tensor.shape);
      if (!fault.empty()) faults.push_back(fault);
    }
    for (const TensorView& view : file_->tensors()) {
      if (!view.name.starts_with(prefix_) || known.contains(view.name)) continue;
      if (!gguf_ && is_spare_tensor(config, view.name.substr(prefix_.size()))) continue;
      faults.push_back(fmt::format("{}: not a tensor of this model", view.name));
    }
    refuse_faults(faults, *file_);
  }

 private:
  // The name that the file has a tensor by.
  std::string name(const T5Tensor& tensor) const {
    if (gguf_) return prefix_ + t5_gguf_name(tensor.name);
    return prefix_ + (tensor.name == embeddings_.usual ? embeddings_.stored : tensor.name);
  }

  std::shared_ptr<const TensorFile> file_;
  bool gguf_;
  std::string prefix_;
  EmbeddingsName embeddings_;
};

// Gives each tensor what the file has of it, if that is anything.
class Filler {
 public:
  Filler(const Source& source, T5Weights& weights, MatrixForm form)
      : source_(source), weights_(weights), form_(form) {}

  void fill(const std::vector<T5Tensor>& tensors) const {
    std::uint64_t bytes = 0;
    for (const T5Tensor& tensor : tensors) {
      const TensorView* view = source_.find(tensor);
      if (view && !stays(tensor, *view)) bytes += view->data.size();
    }
    LoadProgress progress("language model", bytes);
    for (const T5Tensor& tensor : tensors) {
      const TensorView* view = source_.find(tensor);
      if (!view) continue;
      take(tensor, *view);
      if (tensor.linear) tensor.linear->hold(form_);
      if (stays(tensor, *view)) continue;
      if (!is_words(tensor) || !in_blocks(*view)) source_.file()->release(*view);
      progress.add(view->data.size());
    }
    progress.finish();
    if (!source_.find(tensors.back())) tie_head(*source_.find(tensors.front()));
    weights_.head.hold(form_ == MatrixForm::blocks ? form_ : MatrixForm::stored);
  }

 private:
  bool is_words(const T5Tensor& tensor) const {
    return tensor.tensor == &weights_.embeddings.values;
  }
  bool in_blocks(const TensorView& view) const {
    return form_ == MatrixForm::blocks && is_block_type(view.dtype);
  }
  bool rounds(const T5Tensor& tensor) const { return form_ == MatrixForm::int8 && tensor.linear; }
  bool stays(const T5Tensor& tensor, const TensorView& view) const {
    return scalar_type_of(view.dtype) == weights_.dtype && !rounds(tensor);
  }

  void take(const T5Tensor& tensor, const TensorView& view) const {
    const auto& file = source_.file();
    if (tensor.blocks && in_blocks(view)) {
      *tensor.blocks = BlockMatrix(view, {}, file->path().string());
    } else if (is_words(tensor) && in_blocks(view)) {
      weights_.embeddings = WordTable(view, file);
    } else if (stays(tensor, view)) {
      *tensor.tensor = borrow(view, file);
    } else {
      *tensor.tensor = to_tensor(view, rounds(tensor) ? at::kFloat : weights_.dtype);
    }
  }

  void tie_head(const TensorView& words) const {
    Linear::Part& head = weights_.head.parts.at(0);
    head.weight = weights_.embeddings.values;
    if (in_blocks(words)) head.blocks = BlockMatrix(words, {}, source_.file()->path().string());
  }

  const Source& source_;
  T5Weights& weights_;
  MatrixForm form_;
};

void widen_norms(T5Stack& stack) {
  const auto widen = [](Norm& norm) {
    if (norm.defined()) norm.widen();
  };
  widen(stack.norm);
  for (T5Layer& layer : stack.layers) {
    widen(layer.self.norm);
    widen(layer.cross.norm);
    widen(layer.feed_forward.norm);
  }
}

}  // namespace

std::vector<T5Tensor> t5_tensors(T5Weights& weights) {
  const T5Config& c = weights.config;
  std::vector<T5Tensor> list;
  Names names(c, list);
  names.add("shared", weights.embeddings.values, {c.vocab_size, c.d_model});
  names.add_stack("encoder", false, weights.encoder);
  names.add_stack("decoder", true, weights.decoder);
  weights.head.parts.resize(1);
  names.add("lm_head", weights.head.parts[0].weight, {c.vocab_size, c.d_model});
  list.back().blocks = &weights.head.parts[0].blocks;
  return list;
}

bool is_spare_tensor(const T5Config& /*config*/, std::string_view name) {
  return is_old_buffer(name) || std::ranges::find(passed_over, name) != std::end(passed_over);
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
  const c10::InferenceMode no_inference(false);
  const torch::NoGradGuard no_grad;
  auto weights = std::make_shared<T5Weights>();
  weights->config = config;
  weights->dtype = dtype;
  const auto tensors = t5_tensors(*weights);
  const Source source(std::move(file), config, prefix);
  source.check(config, tensors);
  Filler(source, *weights, form).fill(tensors);
  widen_norms(weights->encoder);
  widen_norms(weights->decoder);
  return weights;
}

std::vector<GgufTensor> gguf_tensors(std::shared_ptr<const TensorFile> file, const T5Config& config,
                                     const std::string& prefix) {
  T5Weights places;
  places.config = config;
  const auto tensors = t5_tensors(places);
  const Source source(std::move(file), config, prefix);
  source.check(config, tensors);
  const TensorView& words = *source.find(tensors.front());
  std::vector<GgufTensor> list;
  for (const T5Tensor& tensor : tensors) {
    const TensorView* view = source.find(tensor);
    const bool is_head = tensor.name == head_name;
    if (is_head && (!view || std::ranges::equal(view->data, words.data))) continue;
    list.push_back({t5_gguf_name(tensor.name), tensor.shape, tensor.layer,
                    [view, file = source.file()] { return to_tensor(*view); }});
  }
  return list;
}

}  // namespace blip2
