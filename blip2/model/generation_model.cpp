#include "blip2/model/generation_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/data/batch.h"
#include "blip2/decoding/generate.h"
#include "blip2/language/language_model.h"
#include "blip2/model/directory.h"
#include "blip2/model/prompts.h"
#include "blip2/model/soft_prompts.h"
#include "blip2/nn/each_alone.h"

namespace blip2 {
namespace {

constexpr std::int64_t kMaxQFormerTokens = 512;

at::ScalarType language_type(const TensorFile& weights, const std::string& precision) {
  if (precision == "f32") return at::kFloat;
  if (precision == "bf16") return at::kBFloat16;
  if (precision == "f16") return at::kHalf;
  const auto& tensors = weights.tensors();
  const auto first = std::find_if(tensors.begin(), tensors.end(), [](const TensorView& tensor) {
    return tensor.name.starts_with(kLanguagePrefix);
  });
  if (first == tensors.end()) return at::kBFloat16;
  if (first->dtype == DType::f16) return at::kHalf;
  return first->dtype == DType::f32 ? at::kFloat : at::kBFloat16;
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
  language_ = load_language_model(weights, *config_.language, language_type(*weights, precision),
                                  kLanguagePrefix);
  tokenizer_ = load_tokenizer(folder);
  qformer_tokenizer_ = load_tokenizer(folder / kQFormerTokenizer);
}

std::vector<ImageKeysValues> GenerationModel::look(std::span<const std::string> images) const {
  if (images.empty()) return {};
  const at::Tensor features = images_->encode(images);
  std::vector<ImageKeysValues> pictures(images.size());
  each_alone(images.size(), [&](std::size_t i) {
    pictures[i] = pass_->project_image(features.narrow(0, static_cast<std::int64_t>(i), 1),
                                       bridge_->feature_norm());
  });
  return pictures;
}

at::Tensor GenerationModel::see(const ImageKeysValues& picture, const std::string& prompt) const {
  if (!config_.reads_prompt) return soft_prompts(*bridge_, *pass_, picture, std::nullopt);
  const std::vector<std::vector<std::int32_t>> text{
      encode_at_most(*qformer_tokenizer_, prompt, kMaxQFormerTokens)};
  const PaddedIds ids = pad_ids(text, 0);
  return soft_prompts(*bridge_, *pass_, picture, pack_text(ids.ids, {std::ssize(text[0])}));
}

std::vector<std::vector<GeneratedText>> GenerationModel::generate(
    std::span<const ImageKeysValues> pictures, std::span<const std::string> prompts,
    GenerationOptions options) const {
  TORCH_CHECK(pictures.size() == prompts.size(), "one prompt for each picture");
  std::vector<at::Tensor> seen(pictures.size());
  each_alone(pictures.size(), [&](std::size_t i) { seen[i] = see(pictures[i], prompts[i]); });
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
  const auto session = language_->make_session(longest + options.max_new_tokens);
  const auto logits = session->prompt(input.embeds, input.offsets);
  options.eos_token_ids = language_->eos_token_ids();
  const StepFunction step{session->vocabulary(),
                          [&](auto tokens) { return session->advance(tokens); },
                          [&](auto sources) { session->select(sources); }};
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
