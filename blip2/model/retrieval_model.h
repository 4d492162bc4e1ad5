#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/model/bridge.h"
#include "blip2/model/image_side.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

// A stage-1 model: how well texts and pictures fit. Opened from a stage-1 directory, from a stage-2
// directory that keeps the stage-1 model it came from, or from transformers'
// Blip2ForImageTextRetrieval.
class RetrievalModel {
 public:
  // `precision` of the image encoder, as ImageSide takes it; the rest computes in `bridge`, kFloat
  // or kBFloat16. Error if the directory has no stage-1 model, or its files do not belong together.
  explicit RetrievalModel(const std::filesystem::path& folder,
                          const std::string& precision = "auto", at::ScalarType bridge = at::kFloat,
                          const PictureChoices& pictures = {});

  const Blip2Config& config() const { return config_; }
  const ImageSide& images() const { return *images_; }

  // By which contrast divides cosines: cosine / temperature is in nats.
  double temperature() const;

  // Token ids of texts, cut to 32 tokens as in training; of a transformers directory to as many as
  // the model has positions. Special tokens written out in a text are plain, unless they are asked
  // for.
  TextRows tokenize(std::span<const std::string> texts, bool special_tokens = false) const;
  // Keys and values of features [I, P, D], for the two below.
  ImageKeysValues project_images(const at::Tensor& features) const;
  // Unit vectors [I, Q, E] of pictures; of texts [N, E]. A picture's similarity to a text is the
  // cosine of its best query.
  at::Tensor embed_images(const ImageKeysValues& images) const;
  at::Tensor embed_texts(const TextRows& texts) const;
  // Matching logits [R, 2] of pairs: [:, 1] speaks for a match.
  at::Tensor match(const ImageKeysValues& images, const TextRows& texts, const Pairs& pairs) const;

  // Hidden states before any head, as LAVIS's extract_features has them: the queries' after each
  // picture [I, Q, D] and after each pair's picture and text [R, Q, D]; the texts' alone, packed
  // [N, D].
  at::Tensor hidden_images(const ImageKeysValues& images) const;
  at::Tensor hidden_pairs(const ImageKeysValues& images, const TextRows& texts,
                          const Pairs& pairs) const;
  at::Tensor hidden_texts(const TextRows& texts) const;

 private:
  Blip2Config config_;
  std::unique_ptr<ImageSide> images_;
  std::shared_ptr<Bridge> bridge_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<QFormerPass> pass_;
};

}  // namespace blip2
