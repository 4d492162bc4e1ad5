#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "blip2/language/language_model.h"
#include "blip2/language/t5.h"

namespace blip2 {

struct ForcedRow;    // of teacher_forcing.h
class LoraAdapters;  // of lora.h

// The "text_config" of any language model: decoder-only, or an encoder-decoder.
using LanguageConfig = std::variant<DecoderConfig, T5Config>;

// Reads a "text_config" by its model_type. Error for an unknown model_type; it lists the known
// ones.
LanguageConfig read_language_config(const nlohmann::json& json, const std::string& where);
// The configuration as JSON that transformers reads.
nlohmann::json write_language_config(const LanguageConfig& config);

std::int64_t language_width(const LanguageConfig& config);
std::int64_t vocabulary_of(const LanguageConfig& config);
// What training through a language model of a kind has of its own.
struct LanguageTraits {
  bool reads_prefixes;     // its encoder reads what a text begins with: prefix language modelling
  bool predicts_words;     // it predicts in the place that it reads: soft prompts can be words
  bool tells_texts_apart;  // its log has the losses of captions and of answers instead of "lm"
  std::uint64_t stream;    // of random numbers: those after it are its training's own
};
const LanguageTraits& traits_of(const LanguageConfig& config);
const std::vector<std::int32_t>& end_tokens(const LanguageConfig& config);
std::int32_t begin_token(const LanguageConfig& config);  // -1: none
// The most tokens of a sequence that the model was made for; 0: any number.
std::int64_t most_positions(const LanguageConfig& config);

// Patterns of the tensors that a file may have beside the model's weights although nothing uses
// them (AdoptOptions::ignored).
std::vector<std::string> spare_tensors(const LanguageConfig& config);
// The name under which the file has the word embeddings.
EmbeddingsName embeddings_name(const LanguageConfig& config, const TensorFile& file,
                               const std::string& prefix);

// The embeddings of token ids (int64 [N]) as the model with weights of `dtype` has them, [N, D]
// f32, without loading it. Error if the file has no such table.
at::Tensor embed_from_file(const std::shared_ptr<const TensorFile>& file,
                           const LanguageConfig& config, at::ScalarType dtype,
                           const std::string& prefix, const at::Tensor& ids);

// A frozen language model of either kind, for training through it and for generating texts.
// Sessions are independent of each other; embed() and losses() are for one thread at a time.
class FrozenLanguage {
 public:
  // `lora`: the adapters that the model has already, or null.
  explicit FrozenLanguage(std::shared_ptr<LanguageModel> decoder,
                          std::shared_ptr<const LoraAdapters> lora = nullptr)
      : model_(std::move(decoder)), lora_(std::move(lora)) {}
  explicit FrozenLanguage(std::shared_ptr<T5> t5,
                          std::shared_ptr<const LoraAdapters> lora = nullptr)
      : model_(std::move(t5)), lora_(std::move(lora)) {}

  const LanguageTraits& traits() const;
  at::ScalarType dtype() const;
  // The embeddings of token ids (int64, any shape): [...] -> [..., D] f32.
  at::Tensor embed(const at::Tensor& ids) const;
  // The losses [M] in nats of all targets except kIgnoredLabel, row after row, with teacher
  // forcing. `soft` [B, Q, D]: soft prompts; `rows`: B rows, each with at least one token to
  // predict. Gradients reach the soft prompts and trained adapters, whose dropout `dropout` draws;
  // without that seed they drop nothing.
  at::Tensor losses(const at::Tensor& soft, std::span<const ForcedRow> rows,
                    std::optional<std::uint64_t> dropout = std::nullopt) const;
  // The last hidden states of texts of token ids, packed row after row, [N, D] f32, after the final
  // norm and without gradient: of a decoder's layers, or of an encoder. A text may be empty. A
  // text's states do not depend on the texts beside it. Several threads may call it at once.
  at::Tensor read(std::span<const std::vector<std::int64_t>> texts) const;
  // Bytes of the weights that one step of writing reads.
  std::int64_t step_bytes() const;
  // Makes room for rows of `prompt` tokens that are read and `written` tokens that are generated.
  std::unique_ptr<LanguageSession> make_session(std::int64_t prompt, std::int64_t written) const;

 private:
  std::variant<std::shared_ptr<LanguageModel>, std::shared_ptr<T5>> model_;
  std::shared_ptr<const LoraAdapters> lora_;
};

// Loads a model from a model directory's weights: Hugging Face's names under `prefix`. Errors are
// those of load_language_model and load_t5, and T5 in f16 is an Error. `form`: how the layers'
// matrices are held; int8 takes half the memory of bf16, joined is for training through the model.
// `lora`: adapters of the model, trained or not, or null.
FrozenLanguage load_frozen_language(std::shared_ptr<const TensorFile> file,
                                    const LanguageConfig& config, at::ScalarType dtype,
                                    const std::string& prefix, MatrixForm form = MatrixForm::stored,
                                    std::shared_ptr<const LoraAdapters> lora = nullptr);

}  // namespace blip2
