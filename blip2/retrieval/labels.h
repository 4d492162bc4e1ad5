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
  std::vector<std::string> templates{"{}"};  // {} stands for the name
  std::int64_t rerank = 32;    // number of best names by contrast that are matched too
  double matching_weight = 1;  // weight of matching beside contrast
};

// How a name fits a picture.
struct Label {
  std::size_t name = 0;       // its place in the list
  double probability = 0;     // see label_probabilities()
  double itc = 0;             // cosine
  std::optional<double> itm;  // probability of a match; nullopt: the name was not matched
};

// Probabilities over all texts for a picture. `contrast` [N] is cosine / temperature, whose softmax
// is the probability by contrast. The texts at `matched` keep the sum of their probabilities by
// contrast and share it in proportion to exp(contrast + matching), where `matching` is the weighted
// log-probability that they match. So all probabilities sum to 1, and if all texts are matched,
// they are the softmax of contrast + matching, by which `eval --task retrieval` ranks. Error if a
// number is not finite.
std::vector<double> label_probabilities(std::span<const double> contrast,
                                        std::span<const std::size_t> matched,
                                        std::span<const double> matching);

// Zero-shot classification by a list of names. The names' vectors are computed once for all
// pictures; with several templates a name's vector is the mean of its unit vectors, scaled to
// length 1, as CLIP does it (arXiv 2103.00020, section 3.1.4), and its probability of a match is
// the mean over the templates.
class LabelList {
 public:
  // Keeps a reference to the model. Error if a template has no {}.
  LabelList(const RetrievalModel& model, std::vector<std::string> names, LabelOptions options = {});

  const std::vector<std::string>& names() const { return names_; }

  // Ranks all names, and after them the texts `more`, to which no template applies, for one
  // picture: best first, equal ones in their order. The result does not depend on other pictures.
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
