#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "blip2/evaluation/caption_metrics.h"
#include "blip2/evaluation/document_frequencies_internal.h"

namespace blip2 {

// Scores the captions of one picture after another. For one thread at a time.
template <typename Ngram>
class PictureScorer {
 public:
  // `logs`[n] is log(max(1, n)), up to the number of pictures.
  PictureScorer(const CaptionNumbers& captions, const DocumentFrequencies<Ngram>& frequencies,
                std::span<const double> logs)
      : captions_(captions), frequencies_(frequencies), logs_(logs) {}

  // The scores of a candidate; captions first to end are its references.
  CaptionScore score(std::size_t candidate, std::size_t first, std::size_t end);

 private:
  struct Entry {
    Ngram ngram;
    double count, weight;  // weight: count * rarity, log(pictures / pictures that have the n-gram)
  };
  // A caption's n-grams by order, in order within it.
  struct Weighed {
    std::array<std::vector<Ngram>, kNgramOrders> ngrams;  // in the caption's order
    std::array<std::vector<Entry>, kNgramOrders> entries;
    std::array<double, kNgramOrders> norms{};
    double words = 0;
  };

  void gather(std::size_t caption, Weighed& out);
  void weigh(Weighed& caption);
  double closest_length() const;
  double rouge_l(std::size_t candidate, std::size_t first, std::size_t end);
  void compare(CaptionScore& score);
  double common_subsequence(std::span<const std::uint32_t> a, std::span<const std::uint32_t> b);

  const CaptionNumbers& captions_;
  const DocumentFrequencies<Ngram>& frequencies_;
  std::span<const double> logs_;
  Weighed candidate_;
  std::vector<Weighed> kept_;  // the references; more of them than the picture has
  std::span<const Weighed> references_;
  std::array<std::vector<double>, kNgramOrders>
      most_;  // how often a reference has each of our n-grams, at most
  std::vector<std::uint32_t> row_;
};

// A scorer of each kind is compiled in picture_scorer.cpp.
extern template class PictureScorer<NarrowNgram>;
extern template class PictureScorer<WideNgram>;

}  // namespace blip2
