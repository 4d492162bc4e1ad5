#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "blip2/evaluation/ngrams.h"

namespace blip2 {

// The counts that BLEU adds up over captions: the length, the length of the closest reference, the
// n-grams, and the n-grams that a reference has too (each at most as often as in the reference that
// has it most often).
struct BleuCounts {
  double length = 0, reference_length = 0;
  std::array<double, kNgramOrders> ngrams{}, right{};

  // BLEU-1 to 4, 0 to 1.
  std::array<double, kNgramOrders> scores() const;
};

struct CaptionScore {
  BleuCounts bleu;
  double rouge_l = 0;  // 0 to 1
  double cider = 0;    // 0 to 10
  double cider_d = 0;  // 0 to 10
};

// BLEU (closest reference length), ROUGE-L (beta 1.2) and CIDEr (sigma 6; document frequencies of
// the references themselves) of each candidate. They equal pycocoevalcap 1.2's Bleu, Rouge and
// Cider classes. That Cider has the clipping and the penalty on length of the paper's CIDEr-D
// (Vedantam et al. 2015, section 6) but counts n-grams; `cider_d` is the paper's formula, in which
// each counts by its share in its caption. There is one candidate for each picture, with its
// references, all as tokenise_captions gives them. Throws Error if the lengths differ or a picture
// has no reference. Several threads may call the functions of this header at once.
using CaptionTexts = std::span<const std::string>;
std::vector<CaptionScore> score_captions(CaptionTexts candidates,
                                         std::span<const CaptionTexts> references,
                                         std::size_t threads = 1);

// Candidates and references, tokenised by tokenise_captions: the lines of the candidates and of all
// references together.
class TokenisedCaptions {
 public:
  TokenisedCaptions(CaptionTexts candidates, std::span<const CaptionTexts> references,
                    std::size_t threads);
  TokenisedCaptions(const TokenisedCaptions&) = delete;  // the references refer to their own texts
  TokenisedCaptions& operator=(const TokenisedCaptions&) = delete;

  CaptionTexts candidates() const { return candidates_; }
  std::span<const CaptionTexts> references() const { return references_; }

 private:
  std::vector<std::string> candidates_, all_references_;
  std::vector<CaptionTexts> references_;
};

// Scores texts that are not tokenised yet.
std::vector<CaptionScore> score_texts(CaptionTexts candidates,
                                      std::span<const CaptionTexts> references,
                                      std::size_t threads = 1);

// The scores of a whole set: BLEU from the summed counts, and the means of the other metrics.
struct CaptionScores {
  std::array<double, kNgramOrders> bleu{};
  double rouge_l = 0, cider = 0, cider_d = 0;
};
CaptionScores summarise(std::span<const CaptionScore> scores);

}  // namespace blip2
