#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/image/transform.h"
#include "blip2/model/image_side.h"
#include "blip2/text/tokenizer.h"
#include "blip2/vision/clip_text.h"

namespace blip2 {

// A CLIP (Radford et al. 2021) from a directory of transformers' CLIPModel: config.json, weights,
// preprocessor_config.json, and the tokenizer as tokenizer.json or vocab.json and merges.txt. It
// computes in f32.
class ClipModel {
 public:
  // Strict: Error naming the file for what is missing, unknown or does not fit.
  explicit ClipModel(const std::filesystem::path& folder);

  // Unit vectors [n, E] f32 of the picture files that can be read, the class token's projection
  // (transformers' image_embeds); the others are named. Each picture's is the same whatever stands
  // beside it.
  ReadPictures embed_images(std::span<const std::string> images) const;

  // Unit vectors [N, E] f32 of texts, the end token's projection (transformers' text_embeds); each
  // text's is the same whatever stands beside it. Special tokens written out in a text are plain.
  at::Tensor embed_texts(std::span<const std::string> texts) const;

  // A text's ids with begin and end, cut to the model's positions so that both stay.
  std::vector<std::int32_t> tokenize(const std::string& text) const;

 private:
  struct Heads;  // the last norm of pictures, and both projections

  std::filesystem::path folder_;
  Preprocessing preprocessing_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<ImageEncoder> vision_;
  std::shared_ptr<ClipTextEncoder> text_;
  std::shared_ptr<Heads> heads_;
};

}  // namespace blip2
