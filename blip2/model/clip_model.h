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
// computes in f32. For one thread at a time: each call uses all threads.
class ClipModel {
 public:
  // Strict: Error naming the file if something is missing, unknown or does not fit.
  explicit ClipModel(const std::filesystem::path& folder);

  // Unit vectors [n, E] f32 of the picture files that can be read: projections of the class token
  // (transformers' image_embeds). Unreadable files are named in the result. A picture's vector does
  // not depend on the pictures beside it.
  ReadFiles<at::Tensor> embed_images(std::span<const std::string> images) const;

  // Unit vectors [N, E] f32 of texts: projections of the end token (transformers' text_embeds). A
  // text's vector does not depend on the texts beside it. Special tokens written out in a text are
  // plain text.
  at::Tensor embed_texts(std::span<const std::string> texts) const;

  // The ids of a text with the begin and end tokens, cut to the model's positions so that both
  // tokens stay.
  std::vector<std::int32_t> tokenize(const std::string& text) const;

 private:
  struct Heads;  // the last norm of pictures and both projections

  std::filesystem::path folder_;
  Preprocessing preprocessing_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<ImageEncoder> vision_;
  std::shared_ptr<ClipTextEncoder> text_;
  std::shared_ptr<Heads> heads_;
};

}  // namespace blip2
