#include "blip2/language/language_gguf.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/io/quantise.h"
#include "blip2/language/block_choice_internal.h"
#include "blip2/language/decoder_families_internal.h"
#include "blip2/language/gguf_tensors_internal.h"
#include "blip2/language/rope_json_internal.h"
#include "blip2/nn/block_matrix.h"
#include "blip2/nn/load_progress.h"

namespace blip2 {
namespace {

constexpr std::string_view kWords = "token_embd.weight", kHead = "output.weight";

TensorRole role_of(const GgufTensor& tensor, bool has_head) {
  const auto is = [&](std::string_view end) { return tensor.name.ends_with(end); };
  if (tensor.name == kWords) return has_head ? TensorRole::words : TensorRole::head;
  if (tensor.name == kHead) return TensorRole::head;
  if (tensor.shape.size() < 2 || tensor.layer < 0 || is("attn_rel_b.weight")) {
    return TensorRole::plain;
  }
  if (is("attn_v.weight")) return TensorRole::values;
  if (is("attn_qkv.weight")) return TensorRole::joined_qkv;
  return is("ffn_down.weight") ? TensorRole::down : TensorRole::matrix;
}

// The type of each tensor.
std::vector<DType> choose_types(const std::vector<GgufTensor>& tensors, DType wanted) {
  const auto stack_of = [](const GgufTensor& tensor) { return tensor.name.substr(0, 4); };
  std::map<std::string, std::int64_t> layers;  // of an encoder's, a decoder's or the only stack
  for (const GgufTensor& tensor : tensors) {
    auto& count = layers[stack_of(tensor)];
    count = std::max(count, tensor.layer + 1);
  }
  const bool has_head = std::any_of(tensors.begin(), tensors.end(),
                                    [](const GgufTensor& tensor) { return tensor.name == kHead; });
  std::vector<DType> types;
  for (const GgufTensor& tensor : tensors) {
    types.push_back(block_choice(wanted, {role_of(tensor, has_head), tensor.layer,
                                          layers[stack_of(tensor)], tensor.shape.back()}));
  }
  return types;
}

void append_plain(const at::Tensor& values, GgufWriter& writer) {
  writer.append({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
}

// Error unless the type can hold all numbers.
void check_numbers(const at::Tensor& values, DType type, const std::string& where) {
  if (!values.isfinite().all().item<bool>()) throw Error("a number is not finite", where);
  if (type == DType::f16 && values.abs().max().item<float>() > 65504.0f) {
    throw Error("a number is too large for f16", where);
  }
}

void append_rows(const at::Tensor& rows, DType type, GgufWriter& writer) {
  if (type == DType::f32) return append_plain(rows, writer);
  if (type == DType::f16) return append_plain(rows.to(at::kHalf), writer);
  writer.append(quantise_matrix(rows, type));
}

// Some rows at a time, so that a large table is not held several times.
void append(const GgufTensor& tensor, DType type, const std::filesystem::path& path,
            GgufWriter& writer) {
  constexpr std::int64_t kNumbers = 1 << 22;
  const at::Tensor values = tensor.read();
  const std::string where = path.string() + ": " + tensor.name;
  const std::int64_t count = values.size(0);
  const std::int64_t most = std::max<std::int64_t>(1, kNumbers * count / values.numel());
  for (std::int64_t begin = 0; begin < count; begin += most) {
    const at::Tensor rows = values.narrow(0, begin, std::min(most, count - begin));
    check_numbers(rows, type, where);
    try {
      append_rows(rows, type, writer);
    } catch (const Error& error) {
      if (!error.where().empty()) throw;  // the file's own
      throw error.within(where);
    }
  }
}

void add_ids(std::int32_t bos, std::int32_t pad, const std::vector<std::int32_t>& ends,
             GgufWriter& writer) {
  const auto id = [&](const char* key, std::int32_t value) {
    if (value < 0) return;
    writer.add(std::string("tokenizer.ggml.") + key + "_token_id",
               static_cast<std::uint32_t>(value));
  };
  id("bos", bos);
  if (!ends.empty()) id("eos", ends[0]);
  if (ends.size() > 1) id("eot", ends[1]);
  id("padding", pad);
}

// Sizes under the architecture's name.
class Sizes {
 public:
  Sizes(std::string architecture, GgufWriter& writer)
      : architecture_(std::move(architecture)), writer_(writer) {
    writer.add("general.architecture", architecture_);
  }
  void operator()(const char* key, std::int64_t value) const {
    writer_.add(architecture_ + "." + key, static_cast<std::uint32_t>(value));
  }
  void number(const char* key, double value) const {
    writer_.add(architecture_ + "." + key, static_cast<float>(value));
  }
  void text(const char* key, const char* value) const {
    writer_.add(architecture_ + "." + key, std::string_view(value));
  }

 private:
  std::string architecture_;
  GgufWriter& writer_;
};

void add_scaling(const std::monostate& /*none*/, const Sizes& /*size*/) {}

void add_scaling(const Llama3Rope& /*rope*/, const Sizes& /*size*/) {}  // a tensor has it

void add_scaling(const LinearRope& rope, const Sizes& size) {
  size.text("rope.scaling.type", "linear");
  size.number("rope.scaling.factor", rope.factor);
}

void add_scaling(const YarnRope& rope, const Sizes& size) {
  size.text("rope.scaling.type", "yarn");
  size.number("rope.scaling.factor", rope.factor);
  size("rope.scaling.original_context_length",
       static_cast<std::int64_t>(rope.original_max_position_embeddings));
  size.number("rope.scaling.yarn_beta_fast", rope.beta_fast);
  size.number("rope.scaling.yarn_beta_slow", rope.beta_slow);
  const double usual = yarn_attention_scale(rope.factor), all = usual / rope.attention_factor;
  if (all != 1.0 && usual != 1.0) {  // llama.cpp has what the usual factor is divided by
    size.number("rope.scaling.yarn_log_multiplier", (all - 1.0) / (usual - 1.0));
  }
}

void add_scaling(const LongRope& rope, const Sizes& size) {
  if (rope.only_factors()) return;
  size.text("rope.scaling.type", "longrope");
  size("rope.scaling.original_context_length", rope.original_max_position_embeddings);
  size.number("rope.scaling.attn_factor", rope.attention_factor);
}

void add_rope(const DecoderConfig& c, const Sizes& size) {
  size("attention.key_length", c.head_dim);
  size("attention.value_length", c.head_dim);
  size("rope.dimension_count", c.rotated());
  size.number("rope.freq_base", c.rope.theta);
  if (c.local_rope) size.number("rope.freq_base_swa", c.local_rope->theta);
  std::visit([&](const auto& scaling) { add_scaling(scaling, size); }, c.rope.scaling);
  if (c.query_scale.beta != 0) size.number("attention.temperature_scale", c.query_scale.beta);
}

// llama.cpp knows of each architecture which layers slide and which do not rotate.
void add_layers(const DecoderConfig& c, const Sizes& size, const std::string& path) {
  const LayerRule& rule = row_of(c.family).layers;
  if (c.sliding_window > 0) size("attention.sliding_window", c.sliding_window);
  const bool unrotated =
      rule.unrotated && c.unrotated_layers != every_layer(kUnrotatedInterval, c.num_hidden_layers);
  if (unrotated || (c.sliding_window > 0 && c.sliding_layers != usual_sliding_layers(rule, c))) {
    log_warning("{}: llama.cpp takes other layers for those that slide or do not rotate", path);
  }
}

void add_sizes(const DecoderConfig& c, const std::string& path, GgufWriter& writer) {
  const Sizes size(std::string(row_of(c.family).gguf), writer);
  size("vocab_size", c.vocab_size);
  size("context_length", c.max_position_embeddings);
  size("embedding_length", c.hidden_size);
  size("block_count", c.num_hidden_layers);
  size("feed_forward_length", c.intermediate_size);
  size("attention.head_count", c.num_attention_heads);
  size("attention.head_count_kv", c.num_key_value_heads);
  size.number(c.layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
              c.norm_eps);
  if (!c.learned_positions) {
    add_rope(c, size);
    add_layers(c, size, path);
  }
  add_ids(c.bos_token_id, c.pad_token_id, c.eos_token_id, writer);
}

void add_sizes(const T5Config& c, const std::string& /*path*/, GgufWriter& writer) {
  constexpr std::int64_t kPositions = 512;  // that T5 was trained on; it has no limit
  const Sizes size("t5", writer);
  size("vocab_size", c.vocab_size);
  size("context_length", kPositions);
  size("embedding_length", c.d_model);
  size("block_count", c.num_layers);
  size("decoder_block_count", c.num_decoder_layers);
  size("feed_forward_length", c.d_ff);
  size("attention.head_count", c.num_heads);
  size("attention.key_length", c.d_kv);
  size("attention.value_length", c.d_kv);
  size("attention.relative_buckets_count", c.relative_attention_num_buckets);
  size.number("attention.layer_norm_rms_epsilon", c.layer_norm_epsilon);
  size.number("attention.layer_norm_epsilon", c.layer_norm_epsilon);
  size("decoder_start_token_id", c.decoder_start_token_id);
  add_ids(c.bos_token_id, c.pad_token_id, c.eos_token_id, writer);
}

// How the numbers were quantised.
void add_search(DType wanted, std::vector<DType> types, GgufWriter& writer) {
  std::string text = mix_name(wanted) + " as llama.cpp mixes types, without an importance matrix.";
  std::sort(types.begin(), types.end());
  types.erase(std::unique(types.begin(), types.end()), types.end());
  for (const DType type : types) {
    if (can_quantise(type)) text.append(" ").append(scale_search(type)).append(".");
  }
  writer.add("general.quantization_version", std::uint32_t{2});
  writer.add("general.file_type", file_type_of(wanted));
  writer.add("blip2.quantisation", text);
}

}  // namespace

void write_language_gguf(const std::shared_ptr<const TensorFile>& file,
                         const LanguageConfig& config, const std::string& prefix, DType type,
                         const std::filesystem::path& path,
                         const std::function<void(GgufWriter&)>& add_words,
                         const LoraAdapters* merged) {
  const c10::InferenceMode no_inference(false);
  const torch::NoGradGuard no_grad;
  const auto tensors =
      std::visit([&](const auto& c) { return gguf_tensors(file, c, prefix, merged); }, config);
  const std::vector<DType> types = choose_types(tensors, type);
  GgufWriter writer(path);
  std::visit([&](const auto& c) { add_sizes(c, path.string(), writer); }, config);
  add_search(type, types, writer);
  add_words(writer);
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    writer.add_tensor(tensors[i].name, types[i], tensors[i].shape);
    bytes += tensor_bytes(types[i], tensors[i].shape).value_or(0);
  }
  writer.begin();
  LoadProgress progress("quantised language model", bytes);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    append(tensors[i], types[i], path, writer);
    progress.add(tensor_bytes(types[i], tensors[i].shape).value_or(0));
  }
  progress.finish();
  writer.commit();
}

}  // namespace blip2
