#include "blip2/language/language_gguf.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/io/gguf_writer.h"
#include "blip2/io/quantise.h"
#include "blip2/language/decoder_families.h"
#include "blip2/language/decoder_weights.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

// Hugging Face's rows of q and k as GGUF pairs them for rope (decoder_weights.cpp undoes it).
at::Tensor paired(const at::Tensor& weight, std::int64_t heads) {
  const std::int64_t half = weight.size(0) / heads / 2;
  return weight.view({heads, 2, half, -1}).transpose(1, 2).reshape(weight.sizes());
}

DType type_for(const DecoderTensor& tensor, bool words, DType wanted) {
  if (!tensor.blocks && !words) return DType::f32;
  const std::int64_t width = tensor.transposed ? tensor.shape.front() : tensor.shape.back();
  for (const DType type : {words || !tensor.matrix ? DType::q8_0 : wanted, DType::q8_0}) {
    if (width % dtype_block(type).elements == 0) return type;
  }
  return DType::f16;
}

// [outs, in] f32 -> the bytes of `type`, rows shared out over the threads.
std::vector<std::byte> encoded(const at::Tensor& values, DType type, const std::string& name) {
  if (!values.isfinite().all().item<bool>()) throw Error("a number is not finite", name);
  const at::Tensor plain =
      can_quantise(type) ? values : values.to(type == DType::f16 ? at::kHalf : at::kFloat);
  if (!can_quantise(type)) {
    const auto* data = static_cast<const std::byte*>(plain.const_data_ptr());
    return {data, data + plain.nbytes()};
  }
  const auto width = static_cast<std::size_t>(values.size(1));
  const DTypeBlock block = dtype_block(type);
  const std::size_t row =
      width / static_cast<std::size_t>(block.elements) * static_cast<std::size_t>(block.bytes);
  std::vector<std::byte> bytes(static_cast<std::size_t>(values.size(0)) * row);
  at::parallel_for(0, values.size(0), 16, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      const auto from = quantise(type, {values.const_data_ptr<float>() + i * width, width});
      std::copy(from.begin(), from.end(), bytes.begin() + static_cast<std::ptrdiff_t>(i * row));
    }
  });
  return bytes;
}

void add_metadata(GgufWriter& writer, const DecoderConfig& c) {
  // llama.cpp has Mistral's layers under Llama's name.
  const std::string name(c.family == DecoderFamily::mistral ? "llama" : row_of(c.family).name);
  const auto size = [&](const char* key, std::int64_t value) {
    writer.add(name + "." + key, static_cast<std::uint32_t>(value));
  };
  writer.add("general.architecture", name);
  size("context_length", c.max_position_embeddings);
  size("embedding_length", c.hidden_size);
  size("block_count", c.num_hidden_layers);
  size("feed_forward_length", c.intermediate_size);
  size("attention.head_count", c.num_attention_heads);
  size("attention.head_count_kv", c.num_key_value_heads);
  writer.add(
      name + (c.layer_norm ? ".attention.layer_norm_epsilon" : ".attention.layer_norm_rms_epsilon"),
      c.norm_eps);
  if (c.learned_positions) return;
  size("attention.key_length", c.head_dim);
  size("attention.value_length", c.head_dim);
  size("rope.dimension_count", c.head_dim);
  writer.add(name + ".rope.freq_base", static_cast<float>(c.rope_theta));
}

}  // namespace

void write_language_gguf(const std::shared_ptr<const TensorFile>& file, const DecoderConfig& config,
                         const std::string& prefix, at::ScalarType stored, DType type,
                         const std::filesystem::path& path) {
  if (config.rope_scaling) {
    throw Error("scaled rope is not written into GGUF files", path.string(),
                "keep the language model in bf16 or f16");
  }
  const auto weights = load_decoder_weights(file, config, stored, prefix);
  const auto tensors = decoder_tensors(*weights);
  GgufWriter writer(path);
  add_metadata(writer, config);
  const auto is_words = [&](const DecoderTensor& tensor) { return &tensor == &tensors.front(); };
  for (const DecoderTensor& tensor : tensors) {
    std::vector<std::int64_t> shape = tensor.shape;
    if (tensor.transposed) std::reverse(shape.begin(), shape.end());
    writer.add_tensor(gguf_name(config.family, tensor.name),
                      type_for(tensor, is_words(tensor), type), shape);
  }
  writer.begin();
  for (const DecoderTensor& tensor : tensors) {
    at::Tensor values = tensor.tensor->to(at::kFloat);
    if (tensor.paired_heads > 0) values = paired(values, tensor.paired_heads);
    writer.append(
        encoded(values.contiguous(), type_for(tensor, is_words(tensor), type), tensor.name));
  }
  writer.commit();
}

}  // namespace blip2
