#include "blip2/language/decoder_weights.h"

#include <cmath>

#include "blip2/io/gguf.h"
#include "blip2/language/decoder_families_internal.h"
#include "blip2/language/gguf_tensors_internal.h"
#include "blip2/language/lora.h"
#include "blip2/language/rope_table_internal.h"
#include "blip2/nn/adopt.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

// The tensors that a GGUF file has for scaled rope, and whether they are of long sequences.
std::vector<std::pair<std::string, bool>> rope_tensors(const DecoderConfig& config) {
  const auto* factors = std::get_if<LongRope>(&config.rope.scaling);
  if (std::holds_alternative<Llama3Rope>(config.rope.scaling) ||
      (factors && factors->only_factors())) {
    return {{kRopeFactors, false}};
  }
  if (!factors) return {};
  return {{kLongRopeFactors, true}, {kShortRopeFactors, false}};
}

// Names the slots as a Hugging Face file has them: a base model's file lacks the first word of each
// name ("model.", "transformer."), and tied embeddings may have the head's name.
void name_as_stored(std::vector<TensorSlot>& slots, const DecoderConfig& config,
                    const TensorFile& file, const std::string& prefix) {
  const std::string first = slots.front().name, base = first.substr(0, first.find('.') + 1);
  slots.front().name = embeddings_name(config, file, prefix).stored;
  if (file.find(prefix + first) || !file.find(prefix + first.substr(base.size()))) return;
  for (TensorSlot& slot : slots) {
    if (slot.name.starts_with(base)) slot.name.erase(0, base.size());
  }
}

// The slots by the names that the file has.
std::vector<TensorSlot> stored_tensors(DecoderWeights& weights, const TensorFile& file,
                                       const std::string& prefix) {
  std::vector<TensorSlot> slots = decoder_tensors(weights, is_gguf(file));
  if (!is_gguf(file)) name_as_stored(slots, weights.config, file, prefix);
  return slots;
}

AdoptOptions adopt_options(const DecoderConfig& config, const TensorFile& file,
                           const std::string& prefix) {
  AdoptOptions options{.part = "language model", .prefix = prefix};
  if (!is_gguf(file)) {
    options.ignored = spare_tensors(config);
  } else {
    if (config.tie_word_embeddings) options.ignored.push_back("output.weight");
    for (const char* name : {kRopeFactors, kLongRopeFactors, kShortRopeFactors}) {
      options.ignored.emplace_back(name);  // which the configuration has
    }
  }
  return options;
}

// The inverse of what TensorChange does to paired rows: (i, i + half a head) become neighbours.
at::Tensor pair_rows(const at::Tensor& weight, std::int64_t heads) {
  const std::int64_t half = weight.size(0) / heads / 2;
  return weight.view({heads, 2, half, -1}).transpose(1, 2).reshape(weight.sizes());
}

// The head has the numbers of the word embeddings, in blocks of its own if those are in blocks.
void tie_head(DecoderWeights& weights, const std::shared_ptr<const TensorFile>& file,
              const std::string& words) {
  Linear::Part& head = weights.head.parts.at(0);
  head.weight = weights.embeddings.values;
  if (head.weight.defined()) return;
  const TensorView& view = file->get(words);
  head.blocks = BlockMatrix(view, {}, file->path().string());
  file->release(view);
}

}  // namespace

std::vector<GgufTensor> gguf_tensors(std::shared_ptr<const TensorFile> file,
                                     const DecoderConfig& config, const std::string& prefix,
                                     const LoraAdapters* merged) {
  DecoderWeights places, gguf_places;
  places.config = gguf_places.config = config;
  const std::vector<TensorSlot> from = stored_tensors(places, *file, prefix),
                                named = decoder_tensors(places),
                                to = decoder_tensors(gguf_places, /*gguf=*/true);
  check_slots(file, from, adopt_options(config, *file, prefix));
  std::vector<GgufTensor> list;
  for (std::size_t i = 0; i < from.size(); ++i) {
    TensorChange change = from[i].change;
    change.plus -= to[i].change.plus;  // first, so that what is taken and given stays as it is
    const auto read = [file, name = prefix + from[i].name, change,
                       heads = to[i].change.paired_heads, merged, module = named[i].name] {
      const TensorView& view = file->get(name);
      at::Tensor values = change(to_tensor(view, at::kFloat));
      file->release(view);
      if (merged) values = merged->merged(module, values, /*as_multiplied=*/true);
      return heads > 0 ? pair_rows(values, heads) : values;
    };
    list.push_back({to[i].name, to[i].shape, to[i].layer, read});
  }
  for (const auto& [name, in_long] : rope_tensors(config)) {
    list.push_back({name, {config.rotated() / 2}, -1, [&config, in_long] {
                      return rope_factors(config, in_long);
                    }});
  }
  return list;
}

double embedding_scale(const DecoderConfig& config, at::ScalarType dtype) {
  if (!config.scaled_embeddings) return 1.0;
  const double root = std::sqrt(static_cast<double>(config.hidden_size));
  return at::tensor(root, at::kDouble).to(at::kFloat).to(dtype).item<double>();
}

std::vector<std::pair<std::string, at::Tensor>> tensors_to_save(DecoderWeights& weights) {
  std::vector<std::pair<std::string, at::Tensor>> list;
  for (const TensorSlot& slot : decoder_tensors(weights)) {
    const at::Tensor& tensor = slot.tensor();
    list.emplace_back(slot.name, (slot.change.transposed ? tensor.t() : tensor).contiguous());
  }
  return list;
}

std::vector<std::string> spare_tensors(const DecoderConfig& config) {
  const DecoderNames& names = *row_of(config.family).names;
  std::vector<std::string> spare;
  if (config.tie_word_embeddings) spare.push_back(names.head + std::string(".weight"));
  for (const char* buffer : {names.buffer, names.other_buffer}) {
    if (buffer) spare.push_back(std::string("*") + buffer);
  }
  return spare;
}

EmbeddingsName embeddings_name(const DecoderConfig& config, const TensorFile& file,
                               const std::string& prefix) {
  const DecoderNames& names = *row_of(config.family).names;
  const std::string usual = names.embeddings + std::string(".weight");
  // A base model's file has the usual name without its first word.
  const std::string base = usual.substr(usual.find('.') + 1);
  if (!file.find(prefix + usual) && file.find(prefix + base)) return {usual, base};
  if (!config.tie_word_embeddings) return {usual, usual};
  return find_embeddings(file, prefix, usual, {"lm_head.weight"});
}

std::shared_ptr<DecoderWeights> load_decoder_weights(std::shared_ptr<const TensorFile> file,
                                                     const DecoderConfig& config,
                                                     at::ScalarType dtype,
                                                     const std::string& prefix, MatrixForm form) {
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf,
              "a decoder's weights are f32, bf16 or f16");
  auto weights = std::make_shared<DecoderWeights>();
  weights->config = config;
  weights->dtype = dtype;
  weights->form = form;
  const std::vector<TensorSlot> slots = stored_tensors(*weights, *file, prefix);
  AdoptOptions options = adopt_options(config, *file, prefix);
  options.type = dtype, options.form = form;
  adopt(file, slots, options);
  weights->embeddings.scale = static_cast<float>(embedding_scale(config, dtype));
  if (config.tie_word_embeddings) tie_head(*weights, file, prefix + slots.front().name);
  weights->head.hold(form == MatrixForm::blocks ? form : MatrixForm::stored);
  return weights;
}

}  // namespace blip2
