#include "blip2/language/decoder_weights.h"

#include <fmt/format.h>

#include <set>

#include "blip2/base/error.h"
#include "blip2/io/gguf.h"
#include "blip2/language/decoder_families.h"
#include "blip2/language/gguf_tensors.h"
#include "blip2/language/rope_table.h"
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

// The other way round.
at::Tensor permute(const at::Tensor& weight, std::int64_t heads) {
  const std::int64_t half = weight.size(0) / heads / 2;
  return weight.view({heads, 2, half, -1}).transpose(1, 2).reshape(weight.sizes());
}

// The file's row of each row that unpermute gives.
std::vector<std::int32_t> unpermuted_rows(std::int64_t rows, std::int64_t heads) {
  const at::Tensor order = unpermute(at::arange(rows, at::kInt).view({rows, 1}), heads);
  const auto* data = order.const_data_ptr<std::int32_t>();
  return {data, data + rows};
}

constexpr char kRopeFactors[] = "rope_freqs.weight";

class Loader {
 public:
  Loader(std::shared_ptr<const TensorFile> file, const DecoderConfig& config, at::ScalarType dtype,
         std::string prefix, MatrixForm form)
      : file_(std::move(file)),
        gguf_(dynamic_cast<const GgufFile*>(file_.get()) != nullptr),
        config_(config),
        dtype_(dtype),
        prefix_(std::move(prefix)),
        form_(form) {}

  // Finds out how the file names the tensors, and checks that they are all there.
  void prepare(const std::vector<DecoderTensor>& tensors) {
    // A base model's file has no "model." or "transformer." before its names.
    const std::string& first = tensors.front().name;
    const std::size_t base = first.find('.') + 1;
    if (!gguf_ && !file_->find(prefix_ + first) && file_->find(prefix_ + first.substr(base))) {
      dropped_ = first.substr(0, base);
    }
    if (!gguf_) embeddings_ = embeddings_name(config_, *file_, prefix_);
    check(tensors);
  }

  void load(DecoderWeights& weights) {
    const auto tensors = decoder_tensors(weights);
    prepare(tensors);
    std::uint64_t bytes = 0;
    for (const DecoderTensor& tensor : tensors) bytes += converted_bytes(tensor);
    LoadProgress progress("language model", bytes);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const DecoderTensor& tensor = tensors[i];
      if (in_blocks(tensor)) {
        *tensor.blocks = read_blocks(tensor);
      } else if (tensor.tensor == &weights.embeddings.values && in_blocks(file_view(tensor))) {
        weights.embeddings = WordTable(file_view(tensor), file_);
      } else {
        *tensor.tensor = read(tensor);
      }
      progress.add(converted_bytes(tensor));
      const bool last = i + 1 == tensors.size() || tensors[i + 1].layer != tensor.layer;
      if (!last || tensor.layer < 0) continue;
      hold(weights.layers[static_cast<std::size_t>(tensor.layer)]);
      if (form_ == MatrixForm::int8) release_layer(tensors, tensor.layer);
    }
    progress.finish();
    if (config_.tie_word_embeddings) tie_head(weights, tensors.front());
    weights.head.hold(form_ == MatrixForm::blocks ? form_ : MatrixForm::stored);
    weights.norm.widen();
  }

  at::Tensor read(const DecoderTensor& tensor) const {
    const TensorView& view = file_view(tensor);
    if (tensor.transposed && !gguf_) return to_tensor(view, dtype_).t().contiguous();
    if (gguf_ && tensor.paired_heads > 0) {
      return unpermute(to_tensor(view), tensor.paired_heads).to(dtype_);
    }
    if (scalar_type_of(view.dtype) == dtype_) return borrow(view, file_);
    at::Tensor converted = to_tensor(view, dtype_);
    file_->release(view);
    return converted;
  }

 private:
  void tie_head(DecoderWeights& weights, const DecoderTensor& words) const {
    Linear::Part& head = weights.head.parts.at(0);
    head.weight = weights.embeddings.values;
    if (!in_blocks(file_view(words))) return;
    head.blocks = BlockMatrix(file_view(words), {}, file_->path().string());
    file_->release(file_view(words));
  }

  bool in_blocks(const TensorView& view) const {
    return form_ == MatrixForm::blocks && is_block_type(view.dtype);
  }
  bool in_blocks(const DecoderTensor& tensor) const {
    return tensor.blocks && in_blocks(file_view(tensor));
  }

  BlockMatrix read_blocks(const DecoderTensor& tensor) const {
    const TensorView& view = file_view(tensor);
    std::vector<std::int32_t> rows;
    if (tensor.paired_heads > 0) rows = unpermuted_rows(view.shape[0], tensor.paired_heads);
    BlockMatrix matrix(view, rows, file_->path().string());
    file_->release(view);
    return matrix;
  }

  void hold(DecoderLayer& layer) const {
    for (Linear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) linear->hold(form_);
    for (Norm* norm : {&layer.input_norm, &layer.query_norm, &layer.key_norm, &layer.post_norm}) {
      if (norm->defined()) norm->widen();
    }
  }

  // Takes what has been read of a layer's matrices out of memory, where they lie in the mapped
  // file.
  void release_layer(const std::vector<DecoderTensor>& tensors, std::int64_t layer) const {
    for (const DecoderTensor& tensor : tensors) {
      if (tensor.layer != layer || !tensor.matrix) continue;
      file_->release(file_view(tensor));
    }
  }

  const TensorView& file_view(const DecoderTensor& tensor) const {
    return file_->get(file_name(tensor.name));
  }

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
    if (gguf_) {
      return (config_.tie_word_embeddings && name == file_name("lm_head.weight")) ||
             (config_.rope_scaling && name == prefix_ + kRopeFactors);
    }
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
    const TensorView& view = file_view(tensor);
    const bool mapped = scalar_type_of(view.dtype) == dtype_ && !tensor.transposed;
    return mapped ? 0 : view.data.size();
  }

  std::shared_ptr<const TensorFile> file_;
  bool gguf_;
  const DecoderConfig& config_;
  at::ScalarType dtype_;
  std::string prefix_, dropped_;
  MatrixForm form_;
  EmbeddingsName embeddings_;
};

}  // namespace

std::vector<GgufTensor> gguf_tensors(std::shared_ptr<const TensorFile> file,
                                     const DecoderConfig& config, const std::string& prefix) {
  DecoderWeights places;
  places.config = config;
  const auto tensors = decoder_tensors(places);
  const auto loader =
      std::make_shared<Loader>(std::move(file), config, at::kFloat, prefix, MatrixForm::stored);
  loader->prepare(tensors);
  std::vector<GgufTensor> list;
  for (DecoderTensor tensor : tensors) {
    auto shape = tensor.shape;
    if (tensor.transposed) std::reverse(shape.begin(), shape.end());
    tensor.tensor = nullptr, tensor.blocks = nullptr;  // places that nothing is read into
    list.push_back(
        {gguf_name(config.family, tensor.name), std::move(shape), tensor.layer, [loader, tensor] {
           const at::Tensor values = loader->read(tensor).contiguous();
           return tensor.paired_heads > 0 ? permute(values, tensor.paired_heads) : values;
         }});
  }
  if (config.rope_scaling) {
    list.push_back({kRopeFactors, {config.head_dim / 2}, -1, [&] { return rope_factors(config); }});
  }
  return list;
}

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
  const DecoderNames& names = *row_of(config.family).names;
  return names.buffer && (name.ends_with(names.buffer) || name.ends_with(names.other_buffer));
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
                                                     const std::string& prefix, MatrixForm form) {
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf,
              "a decoder's weights are f32, bf16 or f16");
  const c10::InferenceMode no_inference(false);
  const torch::NoGradGuard no_grad;
  auto weights = std::make_shared<DecoderWeights>();
  weights->config = config;
  weights->dtype = dtype;
  weights->form = form;
  Loader(std::move(file), config, dtype, prefix, form).load(*weights);
  return weights;
}

}  // namespace blip2
