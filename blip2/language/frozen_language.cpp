#include "blip2/language/frozen_language.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/io/gguf.h"
#include "blip2/language/decoder.h"
#include "blip2/language/decoder_weights.h"
#include "blip2/language/lora.h"
#include "blip2/language/t5_session_internal.h"
#include "blip2/language/teacher_forcing.h"
#include "blip2/nn/adopt.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

template <typename... Kinds>
struct Either : Kinds... {
  using Kinds::operator()...;
};

constexpr LanguageTraits kDecoder{
    .reads_prefixes = false, .predicts_words = true, .tells_texts_apart = true, .stream = 20};
constexpr LanguageTraits kEncoderDecoder{
    .reads_prefixes = true, .predicts_words = false, .tells_texts_apart = false, .stream = 30};

}  // namespace

LanguageConfig read_language_config(const nlohmann::json& json, const std::string& where) {
  if (!json.is_object()) throw Error("expected a table of keys", where);
  const nlohmann::json type = json.value("model_type", nlohmann::json());
  if (type == "t5") return t5_config_from_json(json, where);
  std::vector<std::string> known = decoder_family_names();
  for (const std::string& family : known) {
    if (type == family) return decoder_config_from_json(json, where);
  }
  known.insert(known.begin(), "t5");
  throw Error(fmt::format("unknown language model {}", type.dump()), where + ": model_type",
              fmt::format("known are {}", fmt::join(known, ", ")));
}

nlohmann::json write_language_config(const LanguageConfig& config) {
  return std::visit(Either{[](const DecoderConfig& c) { return decoder_config_to_json(c); },
                           [](const T5Config& c) { return t5_config_to_json(c); }},
                    config);
}

std::int64_t language_width(const LanguageConfig& config) {
  return std::visit(Either{[](const DecoderConfig& c) { return c.hidden_size; },
                           [](const T5Config& c) { return c.d_model; }},
                    config);
}

const LanguageTraits& traits_of(const LanguageConfig& config) {
  return std::holds_alternative<T5Config>(config) ? kEncoderDecoder : kDecoder;
}

std::int64_t vocabulary_of(const LanguageConfig& config) {
  return std::visit([](const auto& c) { return c.vocab_size; }, config);
}

const std::vector<std::int32_t>& end_tokens(const LanguageConfig& config) {
  return std::visit(
      [](const auto& c) -> const auto& { return c.eos_token_id; }, config);
}

std::int32_t begin_token(const LanguageConfig& config) {
  return std::visit([](const auto& c) { return c.bos_token_id; }, config);
}

std::int64_t most_positions(const LanguageConfig& config) {
  return std::visit(Either{[](const DecoderConfig& c) { return c.max_position_embeddings; },
                           [](const T5Config&) { return std::int64_t{0}; }},
                    config);
}

std::vector<std::string> spare_tensors(const LanguageConfig& config) {
  return std::visit([](const auto& c) { return spare_tensors(c); }, config);
}

EmbeddingsName embeddings_name(const LanguageConfig& config, const TensorFile& file,
                               const std::string& prefix) {
  return std::visit([&](const auto& c) { return embeddings_name(c, file, prefix); }, config);
}

at::Tensor embed_from_file(const std::shared_ptr<const TensorFile>& file,
                           const LanguageConfig& config, at::ScalarType dtype,
                           const std::string& prefix, const at::Tensor& ids) {
  const std::string name = is_gguf(*file) ? std::string("token_embd.weight")
                                          : embeddings_name(config, *file, prefix).stored;
  WordTable words;
  TensorSlot slot{name, &words.values, {vocabulary_of(config), language_width(config)}};
  slot.table = &words;
  const TensorView* view = file->find(prefix + name);
  adopt(file, {slot},
        {.part = "language model",
         .type = view ? scalar_type_of(view->dtype).value_or(at::kFloat) : at::kFloat,
         .form = MatrixForm::blocks,
         .prefix = prefix,
         .ignored = {"*"}});
  const at::Tensor rows = words.select(ids).to(dtype);
  const auto* decoder = std::get_if<DecoderConfig>(&config);
  const double scale = decoder ? embedding_scale(*decoder, dtype) : 1.0;
  return (scale == 1.0 ? rows : rows * scale).to(at::kFloat);
}

const LanguageTraits& FrozenLanguage::traits() const {
  return std::holds_alternative<std::shared_ptr<T5>>(model_) ? kEncoderDecoder : kDecoder;
}

at::ScalarType FrozenLanguage::dtype() const {
  return std::visit([](const auto& model) { return model->dtype(); }, model_);
}

at::Tensor FrozenLanguage::embed(const at::Tensor& ids) const {
  return std::visit([&](const auto& model) { return model->embed(ids); }, model_);
}

at::Tensor FrozenLanguage::losses(const at::Tensor& soft, std::span<const ForcedRow> rows,
                                  std::optional<std::uint64_t> dropout) const {
  const LoraPass pass(lora_.get(), dropout);
  return std::visit([&](const auto& model) { return forced_losses(*model, soft, rows); }, model_);
}

at::Tensor FrozenLanguage::read(std::span<const std::vector<std::int64_t>> texts) const {
  const at::NoGradGuard no_grad;
  std::vector<std::int64_t> ids, offsets{0};
  for (const std::vector<std::int64_t>& text : texts) {
    if (text.empty()) continue;
    ids.insert(ids.end(), text.begin(), text.end());
    offsets.push_back(std::ssize(ids));
  }
  const at::Tensor embeds = embed(torch::tensor(ids, at::kLong));
  if (ids.empty()) return embeds;
  return std::visit(
      Either{
          [&](const std::shared_ptr<LanguageModel>& model) { return model->read(embeds, offsets); },
          [&](const std::shared_ptr<T5>& model) { return model->encode(embeds, offsets); }},
      model_);
}

std::int64_t FrozenLanguage::step_bytes() const {
  return std::visit([](const auto& model) { return model->step_bytes(); }, model_);
}

std::unique_ptr<LanguageSession> FrozenLanguage::make_session(std::int64_t prompt,
                                                              std::int64_t written) const {
  using Session = std::unique_ptr<LanguageSession>;
  return std::visit(Either{[&](const std::shared_ptr<LanguageModel>& model) -> Session {
                             return model->make_session(prompt + written);
                           },
                           [&](const std::shared_ptr<T5>& model) -> Session {
                             // Its decoder reads the token that it starts with.
                             return std::make_unique<T5Session>(model, 1 + written);
                           }},
                    model_);
}

FrozenLanguage load_frozen_language(std::shared_ptr<const TensorFile> file,
                                    const LanguageConfig& config, at::ScalarType dtype,
                                    const std::string& prefix, MatrixForm form,
                                    std::shared_ptr<const LoraAdapters> lora) {
  return std::visit(
      Either{[&](const DecoderConfig& c) {
               auto weights = load_decoder_weights(std::move(file), c, dtype, prefix, form);
               weights->lora = lora;
               if (lora) lora->attach(decoder_tensors(*weights));
               return FrozenLanguage(std::make_shared<Decoder>(std::move(weights)), lora);
             },
             [&](const T5Config& c) {
               auto weights = load_t5_weights(std::move(file), c, dtype, prefix, form);
               if (lora) lora->attach(t5_tensors(*weights));
               return FrozenLanguage(std::make_shared<T5>(std::move(weights)), lora);
             }},
      config);
}

}  // namespace blip2
