#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/model/retrieval_model.h"

namespace blip2 {

struct LabelOptions {
  std::vector<std::string> templates{"{}"};  // each name stands for its {}
  std::int64_t rerank = 32;                  // so many of the best by contrast are matched too
  double matching_weight = 1;                // of matching beside contrast
};

// How a name fits a picture.
struct Label {
  std::size_t name = 0;       // its place in the list
  double probability = 0;     // see label_probabilities()
  double itc = 0;             // cosine
  std::optional<double> itm;  // probability of a match; nothing: not among those matched
};

// Probabilities over all texts for a picture. `contrast` [N] is cosine / temperature, whose softmax
// is the probability by contrast. The texts at `matched` keep the sum that contrast gives them and
// share it in proportion to exp(contrast + matching): `matching` is the log-probability of their
// match, weighted. So all sum to 1, and where all are matched it is the softmax of contrast +
// matching, by which `eval --task retrieval` ranks. Error if a number is not finite.
std::vector<double> label_probabilities(std::span<const double> contrast,
                                        std::span<const std::size_t> matched,
                                        std::span<const double> matching);

// Names that pictures are told by: zero-shot classification. Their vectors are computed once for
// all pictures: of several templates the mean of unit vectors, scaled to length 1, as CLIP does
// (arXiv 2103.00020, section 3.1.4); their probability of a match is the templates' mean.
class LabelList {
 public:
  // Keeps a reference to the model. Error if a template has no {}.
  LabelList(const RetrievalModel& model, std::vector<std::string> names, LabelOptions options = {});

  const std::vector<std::string>& names() const { return names_; }

  // All names and behind them the texts `more`, which stand in no template, for one picture: best
  // first, of equals the one that stands first. Does not depend on other pictures.
  std::vector<Label> rank(const ImageKeysValues& picture,
                          std::span<const std::string> more = {}) const;

 private:
  at::Tensor vectors_of(std::span<const std::string> texts) const;
  std::vector<double> match(const ImageKeysValues& picture,
                            std::span<const std::string> texts) const;
  std::vector<double> match_places(const ImageKeysValues& picture,
                                   std::span<const std::size_t> places,
                                   std::span<const std::string> more) const;

  const RetrievalModel& model_;
  std::vector<std::string> names_;
  LabelOptions options_;
  at::Tensor vectors_;  // [N, E]
};

}  // namespace blip2
