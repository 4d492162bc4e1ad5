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
  std::string precision = "auto";      // of the frozen parts
  at::ScalarType bridge = at::kFloat;  // in which the Q-Formers compute
  PictureChoices pictures = {};        // how pictures are read
  std::vector<std::string> names;      // candidates for every picture; may be empty
  // generation.return_sequences more for each picture. Without it the directory needs no language
  // model.
  bool generate = true;
  GenerationOptions generation;
  std::optional<Prompt> prompt;  // nothing: the model's own
  LabelOptions ranking;
};

// The best of a picture's candidates.
struct ChosenCaption {
  std::string fault;  // why the picture cannot be read; then nothing else is set
  std::string text;
  // If names are among the candidates, the text's share of one (label_probabilities); otherwise,
  // as generated texts are no choice of all that could be said, the probability that it matches.
  double probability = 0;
  double itc = 0;                          // cosine
  std::optional<double> itm;               // probability of a match; see Label
  std::optional<GeneratedText> generated;  // if the language model wrote it
};

// Says what pictures show by ranking candidates, texts that the model writes, names of a list, or
// both, by contrast and matching of the model's stage-1 part.
class CaptionChooser {
 public:
  // Error if there would be no candidate, or the directory lacks a part that is needed.
  explicit CaptionChooser(const CaptionChoiceOptions& options);
  CaptionChooser(const CaptionChooser&) = delete;  // labels_ refers to matcher_
  CaptionChooser& operator=(const CaptionChooser&) = delete;

  // For each picture its best candidate, the same whatever pictures stand beside it. A name stands
  // before a generated text that says the same.
  std::vector<ChosenCaption> choose(std::span<const std::string> images) const;
  // The same of many, `batch_size` at a time, to take(place, choice) in their order. Interrupted
  // after a signal.
  void choose_in_batches(std::span<const std::string> images, std::int64_t batch_size,
                         const std::function<void(std::size_t, ChosenCaption)>& take) const;

 private:
  std::vector<std::vector<GeneratedText>> write(std::span<const std::string> images,
                                                const at::Tensor& features) const;
  ChosenCaption best_of(const ImageKeysValues& picture, std::vector<GeneratedText> written) const;

  CaptionChoiceOptions options_;
  RetrievalModel matcher_;
  std::optional<GenerationModel> captioner_;
  bool shared_ = false;  // both see the same in a picture
  std::unique_ptr<LabelList> labels_;
};

}  // namespace blip2
