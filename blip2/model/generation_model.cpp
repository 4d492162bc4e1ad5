#include "blip2/model/generation_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "blip2/base/allocation.h"
#include "blip2/base/error.h"
#include "blip2/data/batch.h"
#include "blip2/decoding/generate.h"
#include "blip2/io/json.h"
#include "blip2/model/directory.h"
#include "blip2/model/generation_config.h"
#include "blip2/model/language_side.h"
#include "blip2/model/prompts.h"
#include "blip2/model/soft_prompts.h"
#include "blip2/model/written_text.h"
#include "blip2/nn/batch_invariant.h"

namespace blip2 {
namespace {

Blip2Config read_config(const std::filesystem::path& folder) {
  Blip2Config config = read_blip2_config(folder / "config.json");
  if (!config.language) {
    throw Error("the model has no language model", folder.string(),
                "captions and answers need a model of stage 2");
  }
  config.stage1_heads = false;
  return config;
}

// Error if the processor's configuration, where there is one, contradicts the model's.
void check_processor(const std::filesystem::path& folder, std::int64_t queries) {
  const auto path = folder / "processor_config.json";
  if (!std::filesystem::exists(path)) return;
  const nlohmann::json processor = read_json(path);
  const nlohmann::json said =
      processor.is_object() ? processor.value("num_query_tokens", nlohmann::json()) : processor;
  if (said.is_null() || said == queries) return;
  throw Error(fmt::format("expected {} as config.json says, got {}", queries, said.dump()),
              path.string() + ": num_query_tokens", "the files do not belong together");
}

}  // namespace

struct GenerationModel::Prompted {
  std::unique_ptr<LanguageSession> session;
  std::span<const float> logits;                 // [N, V], after the prompts
  std::vector<std::vector<std::int64_t>> texts;  // the prompts' tokens
};

GenerationModel::GenerationModel(const std::filesystem::path& folder, const std::string& precision,
                                 at::ScalarType bridge, const PictureChoices& pictures)
    : config_(read_config(folder)) {
  check_processor(folder, config_.num_query_tokens);
  tokenizer_ = load_tokenizer(folder);
  check_vocabulary(*tokenizer_, vocabulary_of(*config_.language), folder);
  ends_ = text_ends(folder, config_, *tokenizer_);
  if (config_.chat_prompts) use_chat_template();
  if (config_.reads_prompt) {
    qformer_tokenizer_ = load_tokenizer(qformer_tokenizer_folder(folder));
    check_vocabulary(*qformer_tokenizer_, config_.qformer.vocab_size, folder / kQFormerTokenizer);
  }
  const std::shared_ptr<const TensorFile> weights = open_model_weights(folder);
  bridge_ = load_bridge(weights, config_, /*trainable=*/false);
  pass_ = std::make_unique<QFormerPass>(bridge_->qformer->pass({bridge}));
  bridge_->unregister_module("qformer");  // the pass holds what it computes with
  bridge_->qformer.reset();
  images_ = std::make_unique<ImageSide>(folder, weights, config_, precision, pictures);
  for (const TensorView& view : weights->tensors()) weights->release(view);  // read to be converted
  give_back_memory();
  language_ = load_language(folder, weights, *config_.language, precision);
}

void GenerationModel::use_chat_template(bool use) {
  if (!use) chat_.reset();
  if (use && !chat_) chat_ = std::make_shared<ChatTemplate>(tokenizer_->chat_template());
}

std::vector<ImageKeysValues> GenerationModel::project_images(
    std::span<const std::string> images) const {
  if (images.empty()) return {};
  return project_images(images_->encode(images));
}

std::vector<ImageKeysValues> GenerationModel::project_images(const ImageFeatures& features) const {
  std::vector<ImageKeysValues> pictures(features.positions.size());
  batch_invariant_for(pictures.size(), [&](std::size_t i) {
    pictures[i] =
        pass_->project_image(features.alone(static_cast<std::int64_t>(i)), bridge_->feature_norm());
  });
  return pictures;
}

std::optional<LanguageStates> GenerationModel::states_of(
    const std::vector<std::int64_t>& tokens) const {
  if (!config_.qformer.reads_language()) return std::nullopt;
  return LanguageStates{language_->read(std::span(&tokens, 1)), {std::ssize(tokens)}};
}

at::Tensor GenerationModel::soft_prompts_of(const ImageKeysValues& picture,
                                            const Prompt& prompt) const {
  if (!config_.qformer.reads_language()) return soft_prompts_of(picture, prompt, std::nullopt);
  return soft_prompts_of(picture, prompt, states_of(tokens_of(prompt)));
}

at::Tensor GenerationModel::soft_prompts_of(const ImageKeysValues& picture, const Prompt& prompt,
                                            std::optional<LanguageStates> states) const {
  Instructions read{{}, std::move(states)};
  if (config_.reads_prompt) {
    const std::vector<std::vector<std::int32_t>> text{encode_at_most(
        *qformer_tokenizer_, prompt.instruction(), config_.qformer.max_position_embeddings)};
    check_ids(text[0], config_.qformer.vocab_size);
    read.text = ragged_text(text);
  }
  return soft_prompts(*bridge_, *pass_, picture, read);
}

std::vector<at::Tensor> GenerationModel::soft_prompts_of(
    std::span<const ImageKeysValues> pictures, std::span<const Prompt> prompts,
    const std::vector<std::vector<std::int64_t>>& texts) const {
  std::map<std::vector<std::int64_t>, std::size_t> places;
  std::vector<const std::vector<std::int64_t>*> distinct;
  for (const auto& text : texts) {
    if (places.try_emplace(text, distinct.size()).second) distinct.push_back(&text);
  }
  std::vector<std::optional<LanguageStates>> states(distinct.size());
  batch_invariant_for(distinct.size(), [&](std::size_t i) { states[i] = states_of(*distinct[i]); });
  std::vector<at::Tensor> soft(pictures.size());
  batch_invariant_for(pictures.size(), [&](std::size_t i) {
    soft[i] = soft_prompts_of(pictures[i], prompts[i], states[places.at(texts[i])]);
  });
  return soft;
}

// transformers' BLIP-2 without a prompt starts from the begin token, whatever the tokenizer does.
std::vector<std::int64_t> GenerationModel::tokens_of(const Prompt& prompt) const {
  if (chat_ && !prompt.is_whole()) return tokens_of(chat_turn(*chat_, prompt));
  const std::int32_t begin = begin_token(*config_.language);
  if (prompt.empty() && config_.layout == ModelLayout::blip2 && begin >= 0) return {begin};
  const auto ids = prompt.encode(*tokenizer_, true);
  check_ids(ids, vocabulary_of(*config_.language));
  return {ids.begin(), ids.end()};
}

std::vector<std::int32_t> GenerationModel::seen_before(
    const std::vector<std::int64_t>& text) const {
  if (config_.layout == ModelLayout::own) return {};
  if (const auto* t5 = std::get_if<T5Config>(&*config_.language)) {
    return {t5->decoder_start_token_id};
  }
  std::vector<std::int32_t> seen(text.begin(), text.end());
  if (config_.image_token >= 0 && config_.image_token < vocabulary_of(*config_.language)) {
    seen.push_back(config_.image_token);
  }
  return seen;
}

StopCheck GenerationModel::stops_of(const GenerationOptions& options) const {
  if (options.stop_strings.empty()) return {};
  return [this, stops = options.stop_strings](std::span<const std::int32_t> tokens) {
    return first_stop(tokenizer_->decode(tokens), stops) != std::string::npos;
  };
}

std::unique_ptr<Search> GenerationModel::search(GenerationOptions options,
                                                const std::vector<std::int64_t>& prompt) const {
  options.eos_token_ids = ends_;
  return make_search(options, vocabulary_of(*config_.language), seen_before(prompt),
                     stops_of(options));
}

GenerationModel::Prompted GenerationModel::prompt(std::span<const ImageKeysValues> pictures,
                                                  std::span<const Prompt> prompts,
                                                  std::int64_t new_tokens) const {
  TORCH_CHECK(pictures.size() == prompts.size(), "one prompt for each picture");
  Prompted prompted;
  for (const Prompt& text : prompts) prompted.texts.push_back(tokens_of(text));
  const at::Tensor seen = at::cat(soft_prompts_of(pictures, prompts, prompted.texts));
  const LanguageInput input = language_input(*language_, seen, prompted.texts);
  std::int64_t longest = 0;
  for (std::size_t i = 0; i + 1 < input.offsets.size(); ++i) {
    longest = std::max(longest, input.offsets[i + 1] - input.offsets[i]);
  }
  prompted.session = language_->make_session(longest, new_tokens);
  prompted.logits = prompted.session->prompt(input.embeds, input.offsets);
  return prompted;
}

std::vector<std::vector<GeneratedText>> GenerationModel::generate(
    std::span<const ImageKeysValues> pictures, std::span<const Prompt> prompts,
    GenerationOptions options) const {
  const Prompted prompted = prompt(pictures, prompts, options.max_new_tokens);
  LanguageSession& session = *prompted.session;
  options.eos_token_ids = ends_;
  const StepFunction step{session.vocabulary(),
                          [&](auto tokens) { return session.advance(tokens); },
                          [&](auto sources) { session.select(sources); }};
  std::vector<std::vector<std::int32_t>> seen;
  for (const auto& text : prompted.texts) seen.push_back(seen_before(text));
  std::vector<std::vector<GeneratedText>> answers;
  for (auto& sequences : blip2::generate(step, prompted.logits, options, seen, stops_of(options))) {
    auto& texts = answers.emplace_back();
    for (Generated& sequence : sequences) {
      texts.push_back({written_text(*tokenizer_, sequence.tokens, options.stop_strings),
                       std::move(sequence.tokens), sequence.score, sequence.cut,
                       std::move(sequence.chosen)});
    }
  }
  return answers;
}

at::Tensor GenerationModel::first_logits(std::span<const ImageKeysValues> pictures,
                                         std::span<const Prompt> prompts) const {
  const Prompted prompted = prompt(pictures, prompts, 1);
  at::Tensor logits = at::empty({std::ssize(prompts), prompted.session->vocabulary()}, at::kFloat);
  std::copy(prompted.logits.begin(), prompted.logits.end(), logits.mutable_data_ptr<float>());
  return logits;
}

}  // namespace blip2
