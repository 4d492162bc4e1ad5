#include "blip2/model/generation_model.h"

#include <fmt/format.h>

#include "blip2/base/error.h"
#include "blip2/data/batch.h"
#include "blip2/decoding/generate.h"
#include "blip2/language/llama_session.h"
#include "blip2/model/directory.h"
#include "blip2/model/prompts.h"
#include "blip2/model/soft_prompts.h"

namespace blip2 {
namespace {

constexpr std::int64_t kMaxQFormerTokens = 512;

at::ScalarType language_type(const TensorFile& weights, const std::string& precision) {
  if (precision == "f32") return at::kFloat;
  if (precision == "bf16") return at::kBFloat16;
  const TensorView* words =
      weights.find(std::string(kLanguagePrefix) + "model.embed_tokens.weight");
  return words && words->dtype == DType::f32 ? at::kFloat : at::kBFloat16;
}

Blip2Config read_config(const std::filesystem::path& folder) {
  Blip2Config config = read_blip2_config(folder / "config.json");
  if (!config.language) {
    throw Error("the model has no language model", folder.string(),
                "captions and answers need a model of stage 2");
  }
  config.stage1_heads = false;
  return config;
}

std::string trim(const std::string& text) {
  constexpr char kSpace[] = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

}  // namespace

GenerationModel::GenerationModel(const std::filesystem::path& folder, const std::string& precision)
    : config_(read_config(folder)) {
  const std::shared_ptr<const TensorFile> weights = open_model_weights(folder);
  images_ = std::make_unique<ImageSide>(folder, *weights, config_);
  bridge_ = load_bridge(weights, config_, /*trainable=*/false);
  pass_ = std::make_unique<QFormerPass>(bridge_->qformer->pass());
  language_ =
      load_llama(weights, *config_.language, language_type(*weights, precision), kLanguagePrefix);
  tokenizer_ = load_tokenizer(folder);
  qformer_tokenizer_ = load_tokenizer(folder / kQFormerTokenizer);
}

at::Tensor GenerationModel::see(const at::Tensor& features, const std::string& prompt) const {
  if (!config_.reads_prompt) return soft_prompts(*bridge_, *pass_, features, std::nullopt);
  const std::vector<std::vector<std::int32_t>> text{
      encode_at_most(*qformer_tokenizer_, prompt, kMaxQFormerTokens)};
  const PaddedIds ids = pad_ids(text, 0);
  return soft_prompts(*bridge_, *pass_, features, pack_text(ids.ids, {std::ssize(text[0])}));
}

std::vector<std::vector<GeneratedText>> GenerationModel::generate(
    const at::Tensor& features, std::span<const std::string> prompts,
    GenerationOptions options) const {
  TORCH_CHECK(features.size(0) == std::ssize(prompts), "one prompt for each picture");
  // One picture at a time, for the reason that ImageSide gives; the language model's own kernels
  // compute each row by itself.
  std::vector<at::Tensor> seen;
  for (std::int64_t i = 0; i < features.size(0); ++i) {
    seen.push_back(see(features.narrow(0, i, 1), prompts[static_cast<std::size_t>(i)]));
  }
  const at::Tensor soft = at::cat(seen);
  std::vector<std::vector<std::int64_t>> text;
  for (const std::string& prompt : prompts) {
    const auto ids = tokenizer_->encode(prompt);
    text.emplace_back(ids.begin(), ids.end());
  }
  const LanguageInput input = language_input(*language_, soft, text);
  std::int64_t longest = 0;
  for (std::size_t i = 0; i + 1 < input.offsets.size(); ++i) {
    longest = std::max(longest, input.offsets[i + 1] - input.offsets[i]);
  }
  LlamaSession session(language_, longest + options.max_new_tokens);
  const auto logits = session.prompt(input.embeds, input.offsets);
  options.eos_token_ids = config_.language->eos_token_id;
  const StepFunction step{session.vocabulary(),
                          [&](auto tokens) { return session.advance(tokens); },
                          [&](auto sources) { session.select(sources); }};
  std::vector<std::vector<GeneratedText>> answers;
  for (auto& sequences : blip2::generate(step, logits, options)) {
    auto& texts = answers.emplace_back();
    for (Generated& sequence : sequences) {
      texts.push_back(
          {trim(tokenizer_->decode(sequence.tokens)), std::move(sequence.tokens), sequence.score});
    }
  }
  return answers;
}

}  // namespace blip2
