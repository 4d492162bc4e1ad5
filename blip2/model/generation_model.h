#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/chat/chat_template.h"
#include "blip2/decoding/search.h"
#include "blip2/language/frozen_language.h"
#include "blip2/model/bridge.h"
#include "blip2/model/image_side.h"
#include "blip2/text/prompt.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

struct GeneratedText {
  std::string text;                  // without special tokens and white space at its ends
  std::vector<std::int32_t> tokens;  // as generated, the end token included
  double score = 0;                  // as Generated::score
  bool cut = false;                  // as Generated::cut
  std::vector<ChosenToken> chosen;   // as Generated::chosen
};

// A language model that generates texts about pictures: a stage-2 model trained by this program, or
// a directory of transformers' BLIP-2 or InstructBLIP. A prompt is one of the model's templates,
// filled in; a Q-Former that reads prompts gets the same text, and one that reads the language
// model's states gets those of the prompt, which the language model reads first. Soft prompts stand
// before the prompt's tokens, which include the tokens that the tokenizer puts around a text; an
// encoder-decoder reads soft prompts and prompt in its encoder. In a model of chats a prompt that
// is not whole becomes a user's turn of the language model's chat template. A model is for one
// thread at a time: each call uses LibTorch's threads.
class GenerationModel {
 public:
  // `precision`: type of the image encoder and the language model, "f32", "bf16", "f16" or "auto".
  // With "auto" the weights stay as the directory stores them, mapped and not copied. `bridge`:
  // type in which the bridge computes, kFloat or kBFloat16. Error if the directory has no language
  // model, or its files do not belong together.
  explicit GenerationModel(const std::filesystem::path& folder,
                           const std::string& precision = "auto",
                           at::ScalarType bridge = at::kFloat, const PictureChoices& pictures = {});

  const Blip2Config& config() const { return config_; }
  const ImageSide& images() const { return *images_; }
  const FrozenLanguage& language() const { return *language_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }

  // Makes it a model of chats, as one that was trained with chat_prompts is, or one that is none.
  // Error if the language model has no chat template, or one that cannot be read.
  void use_chat_template(bool use = true);
  // The template of a model of chats; nullptr for other models.
  const std::shared_ptr<const ChatTemplate>& chat() const { return chat_; }

  // The Q-Former's keys and values of pictures read from files, for any number of prompts about
  // them.
  std::vector<ImageKeysValues> project_images(std::span<const std::string> images) const;
  // The keys and values of pictures given by their features.
  std::vector<ImageKeysValues> project_images(const ImageFeatures& features) const;

  // Generates texts from N pictures and N prompts: options.return_sequences texts for each pair,
  // best first. A text ends at the model's end tokens (text_ends), whatever options.eos_token_ids
  // says.
  std::vector<std::vector<GeneratedText>> generate(std::span<const ImageKeysValues> pictures,
                                                   std::span<const Prompt> prompts,
                                                   GenerationOptions options) const;

  // What generate() is made of, for those who decide themselves what is computed when.
  // Soft prompts [1, Q, width] of one picture. Several threads may call it at once.
  at::Tensor soft_prompts_of(const ImageKeysValues& picture, const Prompt& prompt) const;
  // The prompt's tokens for the language model. Any thread may call it at any time.
  std::vector<std::int64_t> tokens_of(const Prompt& prompt) const;
  // The search for answers to a prompt of these tokens.
  std::unique_ptr<Search> search(GenerationOptions options,
                                 const std::vector<std::int64_t>& prompt) const;

  // The logits of the first generated token of each pair, [N, V] f32.
  at::Tensor first_logits(std::span<const ImageKeysValues> pictures,
                          std::span<const Prompt> prompts) const;

 private:
  struct Prompted;

  // The language model's states of a prompt's tokens, where the Q-Former reads them.
  std::optional<LanguageStates> states_of(const std::vector<std::int64_t>& tokens) const;
  at::Tensor soft_prompts_of(const ImageKeysValues& picture, const Prompt& prompt,
                             std::optional<LanguageStates> states) const;
  // The soft prompts of each pair; a prompt that several pairs have is read once.
  std::vector<at::Tensor> soft_prompts_of(
      std::span<const ImageKeysValues> pictures, std::span<const Prompt> prompts,
      const std::vector<std::vector<std::int64_t>>& texts) const;
  Prompted prompt(std::span<const ImageKeysValues> pictures, std::span<const Prompt> prompts,
                  std::int64_t new_tokens) const;
  // The tokens that the repetition penalty counts before anything is generated, as in transformers.
  std::vector<std::int32_t> seen_before(const std::vector<std::int64_t>& text) const;
  StopCheck stops_of(const GenerationOptions& options) const;

  Blip2Config config_;
  std::unique_ptr<ImageSide> images_;
  std::shared_ptr<Bridge> bridge_;
  std::unique_ptr<QFormerPass> pass_;
  std::optional<FrozenLanguage> language_;
  std::vector<std::int32_t> ends_;
  std::unique_ptr<Tokenizer> tokenizer_, qformer_tokenizer_;  // the second may be nullptr
  std::shared_ptr<const ChatTemplate> chat_;
};

}  // namespace blip2
