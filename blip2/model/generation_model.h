#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/decoding/options.h"
#include "blip2/language/frozen_language.h"
#include "blip2/model/bridge.h"
#include "blip2/model/image_side.h"
#include "blip2/text/prompt.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

struct GeneratedText {
  std::string text;                  // without special tokens and the space at its ends
  std::vector<std::int32_t> tokens;  // as generated, the end token included
  double score = 0;                  // see Generated
};

// A language model that speaks about pictures: trained here in stage 2, or one of transformers'
// BLIP-2 and InstructBLIP directories. Prompts are the model's templates filled in; a Q-Former that
// reads prompts gets the same text. Soft prompts stand before the prompt's tokens, those that the
// tokenizer puts around a text included; an encoder-decoder reads all of them in its encoder.
class GenerationModel {
 public:
  // `precision` of the image encoder and the language model: "f32", "bf16", "f16", or "auto": as
  // the directory stores it, mapped and not copied. The bridge computes in `bridge`, kFloat or
  // kBFloat16. Error if the directory has no language model, or its files do not belong together.
  explicit GenerationModel(const std::filesystem::path& folder,
                           const std::string& precision = "auto",
                           at::ScalarType bridge = at::kFloat, const PictureChoices& pictures = {});

  const Blip2Config& config() const { return config_; }
  const ImageSide& images() const { return *images_; }
  const FrozenLanguage& language() const { return *language_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }

  // The Q-Former's keys and values of pictures read from files, for any number of prompts about
  // them.
  std::vector<ImageKeysValues> project_images(std::span<const std::string> images) const;
  // The same of features [N, P, D].
  std::vector<ImageKeysValues> project_images(const at::Tensor& features) const;

  // Texts that follow the prompts given a picture for each: for each of the rows
  // options.return_sequences texts, best first. Generation ends at the model's ends (text_ends),
  // whatever options.eos_token_ids says.
  std::vector<std::vector<GeneratedText>> generate(std::span<const ImageKeysValues> pictures,
                                                   std::span<const Prompt> prompts,
                                                   GenerationOptions options) const;

  // The logits of each row's first token, [N, V] f32.
  at::Tensor first_logits(std::span<const ImageKeysValues> pictures,
                          std::span<const Prompt> prompts) const;

 private:
  struct Prompted;

  // Soft prompts [1, Q, width] of one picture.
  at::Tensor soft_prompts_of(const ImageKeysValues& picture, const Prompt& prompt) const;
  std::vector<std::int64_t> tokens_of(const Prompt& prompt) const;
  Prompted prompt(std::span<const ImageKeysValues> pictures, std::span<const Prompt> prompts,
                  std::int64_t new_tokens) const;
  // What the repetition penalty counts before anything is generated, as transformers counts it.
  std::vector<std::int32_t> seen_before(const std::vector<std::int64_t>& text) const;

  Blip2Config config_;
  std::unique_ptr<ImageSide> images_;
  std::shared_ptr<Bridge> bridge_;
  std::unique_ptr<QFormerPass> pass_;
  std::optional<FrozenLanguage> language_;
  std::vector<std::int32_t> ends_;
  std::unique_ptr<Tokenizer> tokenizer_, qformer_tokenizer_;  // the second if prompts are read
};

}  // namespace blip2
