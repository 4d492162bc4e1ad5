#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

namespace blip2 {

// The field's caption metrics over a whole set: BLEU-1 to 4 (closest reference length), ROUGE-L
// (beta 1.2) and CIDEr-D (sigma 6; document frequencies of the references themselves), each 0 to 1
// save CIDEr, 0 to 10. They equal pycocoevalcap's Bleu, Rouge and Cider classes.
struct CaptionScores {
  std::array<double, 4> bleu{};
  double rouge_l = 0, cider = 0;
};

// One candidate for each picture and its references, as tokenised text: words with one space
// between. Throws Error if the lengths differ or a picture has no reference.
CaptionScores score_captions(std::span<const std::string> candidates,
                             std::span<const std::vector<std::string>> references);

// A caption as tokenised text: ASCII lower case, punctuation dropped, clitics split off ("isn't" to
// "is n't", "dog's" to "dog 's"). Near to, not the same as, the Stanford tokenizer that published
// results use (that one needs Java).
std::string tokenise_caption(const std::string& caption);

}  // namespace blip2
