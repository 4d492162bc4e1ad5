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

// A stage-1 model, which tells how well texts and pictures fit. It is opened from a stage-1
// directory, from a stage-2 directory that keeps the stage-1 model it came from, or from a
// directory of transformers' Blip2ForImageTextRetrieval. A model is for one thread at a time: each
// call uses LibTorch's threads.
class RetrievalModel {
 public:
  // `precision`: type of the image encoder, as in ImageSide. `bridge`: type in which the Q-Former
  // computes, kFloat or kBFloat16. Error if the directory has no stage-1 model, or its files do not
  // belong together.
  explicit RetrievalModel(const std::filesystem::path& folder,
                          const std::string& precision = "auto", at::ScalarType bridge = at::kFloat,
                          const PictureChoices& pictures = {});

  const Blip2Config& config() const { return config_; }
  const ImageSide& images() const { return *images_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }  // the Q-Former's

  // The temperature by which contrast divides cosines; cosine / temperature is a logit in nats.
  double temperature() const;

  // Token ids of texts, cut to 32 tokens as in training, or for a transformers directory to the
  // model's number of positions. Special tokens written out in a text are plain text unless
  // `special_tokens` is true.
  TextRows tokenize(std::span<const std::string> texts, bool special_tokens = false) const;
  // The Q-Former's keys and values of features, for the functions below.
  ImageKeysValues project_images(const ImageFeatures& features) const;
  // Unit vectors of pictures [I, Q, E] and of texts [N, E]. A picture's similarity to a text is the
  // cosine of its best query.
  at::Tensor embed_images(const ImageKeysValues& images) const;
  at::Tensor embed_texts(const TextRows& texts) const;
  // Matching logits [R, 2] of pairs; [:, 1] is the class "match".
  at::Tensor match(const ImageKeysValues& images, const TextRows& texts, const Pairs& pairs) const;

  // Hidden states before any head, as LAVIS's extract_features gives them: of the queries given a
  // picture, [I, Q, D]; of the queries given picture and text of a pair, [R, Q, D]; of texts alone,
  // packed rows [N, D].
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
