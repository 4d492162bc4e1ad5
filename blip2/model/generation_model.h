#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/decoding/options.h"
#include "blip2/language/language_model.h"
#include "blip2/model/bridge.h"
#include "blip2/model/image_side.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

struct GeneratedText {
  std::string text;                  // without special tokens and the space at its ends
  std::vector<std::int32_t> tokens;  // as generated, the end token included
  double score = 0;                  // see Generated
};

// A stage-2 model: a frozen language model that speaks about pictures. Prompts are the model's
// templates filled in; a Q-Former that reads prompts gets the same text.
class GenerationModel {
 public:
  // `precision` of the language model: "f32", "bf16", "f16", or "auto": as the directory stores it,
  // mapped and not copied. The bridge computes in f32. Error if the directory has no language
  // model.
  explicit GenerationModel(const std::filesystem::path& folder,
                           const std::string& precision = "auto");

  const Blip2Config& config() const { return config_; }
  const ImageSide& images() const { return *images_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }

  // Pictures read from files, for any number of prompts about them.
  std::vector<ImageKeysValues> look(std::span<const std::string> images) const;

  // Texts that follow the prompts given a picture for each: for each of the rows
  // options.return_sequences texts, best first. Generation ends at the model's end tokens, whatever
  // options.eos_token_ids says.
  std::vector<std::vector<GeneratedText>> generate(std::span<const ImageKeysValues> pictures,
                                                   std::span<const std::string> prompts,
                                                   GenerationOptions options) const;

 private:
  // Soft prompts [1, Q, width] of one picture.
  at::Tensor see(const ImageKeysValues& picture, const std::string& prompt) const;

  Blip2Config config_;
  std::unique_ptr<ImageSide> images_;
  std::shared_ptr<Bridge> bridge_;
  std::unique_ptr<QFormerPass> pass_;
  std::shared_ptr<LanguageModel> language_;
  std::unique_ptr<Tokenizer> tokenizer_, qformer_tokenizer_;
};

}  // namespace blip2
