#include "blip2/language/decoder_weights.h"

#include "blip2/io/gguf.h"
#include "blip2/language/decoder_families.h"

namespace blip2 {
namespace {

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
  auto weights = std::make_shared<DecoderWeights>();
  weights->config = config;
  weights->dtype = dtype;
  weights->form = form;
  const bool gguf = dynamic_cast<const GgufFile*>(file.get()) != nullptr;
  std::vector<TensorSlot> slots = decoder_tensors(*weights, gguf);
  if (!gguf) name_as_stored(slots, config, *file, prefix);
  std::vector<std::string> spare = spare_tensors(config);
  if (gguf && config.tie_word_embeddings) spare = {"output.weight"};
  adopt(
      file, slots,
      {.part = "language model", .type = dtype, .form = form, .prefix = prefix, .ignored = spare});
  if (config.tie_word_embeddings) tie_head(*weights, file, prefix + slots.front().name);
  weights->head.hold(form == MatrixForm::blocks ? form : MatrixForm::stored);
  return weights;
}

}  // namespace blip2
