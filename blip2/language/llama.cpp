#include "blip2/language/llama.h"

#include <utility>

#include "blip2/base/error.h"
#include "blip2/language/llama_stack.h"

namespace blip2 {
namespace {

// Registers a buffer under a dotted path, with plain modules on the way.
void register_at(torch::nn::Module& root, const std::string& path, const at::Tensor& tensor) {
  torch::nn::Module* module = &root;
  std::size_t begin = 0;
  for (std::size_t dot; (dot = path.find('.', begin)) != std::string::npos; begin = dot + 1) {
    const std::string name = path.substr(begin, dot - begin);
    const auto children = module->named_children();
    const auto* child = children.find(name);
    module = child ? child->get()
                   : module->register_module(name, std::make_shared<torch::nn::Module>()).get();
  }
  module->register_buffer(path.substr(begin), tensor);
}

}  // namespace

Llama::Llama(std::shared_ptr<LlamaWeights> weights)
    : weights_(std::move(weights)), stack_(std::make_shared<LlamaStack>(weights_)) {
  for (const LlamaTensor& tensor : llama_tensors(*weights_)) {
    register_at(*this, tensor.name, *tensor.tensor);
  }
}

Llama::~Llama() = default;

at::Tensor Llama::embed(const at::Tensor& ids) const {
  std::vector<std::int64_t> shape = ids.sizes().vec();
  shape.push_back(config().hidden_size);
  return weights_->embeddings.index_select(0, ids.reshape({-1})).to(at::kFloat).view(shape);
}

at::Tensor Llama::forward_packed(const at::Tensor& embeds, std::vector<std::int64_t> offsets) {
  TORCH_CHECK(embeds.dim() == 2 && embeds.size(1) == config().hidden_size, "embeds: expected [N, ",
              config().hidden_size, "], got ", embeds.sizes());
  TORCH_CHECK(!offsets.empty() && offsets.front() == 0 && offsets.back() == embeds.size(0),
              "offsets must run from 0 to the number of rows");
  return run_stack(stack_, embeds.to(at::kFloat).contiguous(), std::move(offsets));
}

at::Tensor Llama::forward(const at::Tensor& embeds, std::span<const std::int64_t> lengths) {
  const std::int64_t rows = embeds.size(0), width = embeds.size(1);
  TORCH_CHECK(static_cast<std::int64_t>(lengths.size()) == rows, "one length a row is needed");
  std::vector<std::int64_t> kept, offsets = {0};
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t length = lengths[static_cast<std::size_t>(row)];
    TORCH_CHECK(length >= 0 && length <= width, "length ", length, " is outside 0..", width);
    for (std::int64_t t = 0; t < length; ++t) kept.push_back(row * width + t);
    offsets.push_back(offsets.back() + length);
  }
  const at::Tensor index = at::tensor(kept, at::kLong);
  const at::Tensor flat = embeds.reshape({rows * width, -1});
  const at::Tensor hidden = forward_packed(flat.index_select(0, index), std::move(offsets));
  return at::zeros(flat.sizes(), hidden.options())
      .index_copy(0, index, hidden)
      .view(embeds.sizes());
}

std::shared_ptr<Llama> load_llama(std::shared_ptr<const TensorFile> file, const LlamaConfig& config,
                                  at::ScalarType dtype, const std::string& prefix) {
  return std::make_shared<Llama>(load_llama_weights(std::move(file), config, dtype, prefix));
}

std::shared_ptr<Llama> load_llama_gguf(std::shared_ptr<const GgufFile> file, at::ScalarType dtype) {
  const LlamaConfig config = llama_config_from_gguf(*file);
  return load_llama(std::move(file), config, dtype);
}

}  // namespace blip2
