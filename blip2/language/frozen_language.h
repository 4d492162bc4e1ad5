#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "blip2/language/language_model.h"
#include "blip2/language/t5.h"
#include "blip2/language/teacher_forcing.h"

namespace blip2 {

// The "text_config" of any language model: decoder-only, or an encoder-decoder.
using LanguageConfig = std::variant<DecoderConfig, T5Config>;

// Reads a "text_config" by its model_type; Error for one that is not known (lists the known ones).
LanguageConfig read_language_config(const nlohmann::json& json, const std::string& where);
// As transformers reads it.
nlohmann::json write_language_config(const LanguageConfig& config);

std::int64_t language_width(const LanguageConfig& config);
std::int64_t vocabulary_of(const LanguageConfig& config);
// Whether prompts go to an encoder and texts come from a decoder that starts with a token of its
// own.
bool has_encoder(const LanguageConfig& config);
const std::vector<std::int32_t>& end_tokens(const LanguageConfig& config);
std::int32_t begin_token(const LanguageConfig& config);  // -1: none

// Patterns of the tensors that a file may have beside the model's weights, without use.
std::vector<std::string> spare_tensors(const LanguageConfig& config);
// Under which name the file has the word embeddings.
EmbeddingsName embeddings_name(const LanguageConfig& config, const TensorFile& file,
                               const std::string& prefix);

// A frozen language model of either kind, for training through it and for writing texts.
class FrozenLanguage {
 public:
  explicit FrozenLanguage(std::shared_ptr<LanguageModel> decoder) : model_(std::move(decoder)) {}
  explicit FrozenLanguage(std::shared_ptr<T5> t5) : model_(std::move(t5)) {}

  // Whether prompts go to an encoder and texts come from a decoder that starts with a token of its
  // own.
  bool has_encoder() const { return std::holds_alternative<std::shared_ptr<T5>>(model_); }
  at::ScalarType dtype() const;
  // The embeddings of token ids (int64, any shape): [...] -> [..., D] f32.
  at::Tensor embed(const at::Tensor& ids) const;
  // The losses [M] in nats of all rows' targets that count, row after row: soft prompts [B, Q, D],
  // B rows, each with a token to predict. Gradients reach the soft prompts.
  at::Tensor losses(const at::Tensor& soft, std::span<const ForcedRow> rows) const;
  // `capacity`: tokens a row to make room for, as the model's own sessions take it.
  std::unique_ptr<LanguageSession> make_session(std::int64_t capacity = 64) const;

 private:
  std::variant<std::shared_ptr<LanguageModel>, std::shared_ptr<T5>> model_;
};

// From a model directory's weights: Hugging Face's names under `prefix`. Error as the models' own
// loaders give it, and for T5 in f16. `form`: how the layers' matrices are held; int8 takes half
// the memory of bf16, joined is for training through the model.
FrozenLanguage load_frozen_language(std::shared_ptr<const TensorFile> file,
                                    const LanguageConfig& config, at::ScalarType dtype,
                                    const std::string& prefix,
                                    MatrixForm form = MatrixForm::stored);

}  // namespace blip2
