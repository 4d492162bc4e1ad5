#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/model/generation_model.h"
#include "blip2/retrieval/labels.h"

namespace blip2 {

struct CaptionChoiceOptions {
  std::filesystem::path model;
  std::string precision = "auto";      // type of the frozen parts
  at::ScalarType bridge = at::kFloat;  // type in which the Q-Formers compute
  PictureChoices pictures = {};        // how pictures are read
  std::vector<std::string> names;      // candidates for every picture; may be empty
  // Adds generation.return_sequences generated texts to each picture's candidates. Without it the
  // directory needs no language model.
  bool generate = true;
  GenerationOptions generation;
  std::optional<Prompt> prompt;  // nullopt: the model's own prompt
  LabelOptions ranking;
};

// The best of a picture's candidates.
struct ChosenCaption {
  std::string fault;  // why the picture cannot be read; then nothing else is set
  std::string text;
  // If names are among the candidates, the text's probability among all candidates
  // (label_probabilities). Otherwise the probability that picture and text match, because generated
  // texts do not cover everything that could be said.
  double probability = 0;
  double itc = 0;                          // cosine
  std::optional<double> itm;               // probability of a match, as Label::itm
  std::optional<GeneratedText> generated;  // set if the language model wrote the text
};

// Chooses a text for each picture among candidates (texts that the model generates, names of a
// list, or both), ranked by contrast and matching of the model's stage-1 part.
class CaptionChooser {
 public:
  // Error if there would be no candidate, or the directory lacks a part that is needed.
  explicit CaptionChooser(const CaptionChoiceOptions& options);
  CaptionChooser(const CaptionChooser&) = delete;  // labels_ refers to matcher_
  CaptionChooser& operator=(const CaptionChooser&) = delete;

  // The best candidate for each picture, which does not depend on the pictures beside it. A name is
  // preferred to a generated text that says the same.
  std::vector<ChosenCaption> choose(std::span<const std::string> images) const;
  // The same of many, `batch_size` at a time, to take(place, choice) in their order. Interrupted
  // after a signal.
  void choose_in_batches(std::span<const std::string> images, std::int64_t batch_size,
                         const std::function<void(std::size_t, ChosenCaption)>& take) const;

 private:
  std::vector<std::vector<GeneratedText>> write(std::span<const std::string> images,
                                                const ImageFeatures& features) const;
  ChosenCaption best_of(const ImageKeysValues& picture, std::vector<GeneratedText> written) const;

  CaptionChoiceOptions options_;
  RetrievalModel matcher_;
  std::optional<GenerationModel> captioner_;
  bool shared_ = false;  // both models have the same features of a picture
  std::unique_ptr<LabelList> labels_;
};

}  // namespace blip2
