#include "blip2/evaluation/caption_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/base/parallel.h"
#include "blip2/evaluation/caption_tokens.h"
#include "blip2/evaluation/picture_scorer_internal.h"

namespace blip2 {
namespace {

// begins[i] to begins[i + 1] are the i-th picture's references among all.
std::vector<std::size_t> begins_of(std::span<const CaptionTexts> references) {
  std::vector<std::size_t> begins{0};
  for (const CaptionTexts& texts : references) begins.push_back(begins.back() + texts.size());
  return begins;
}

// log(max(1, n)) of n up to `most`.
std::vector<double> logs_up_to(std::size_t most) {
  std::vector<double> logs{0};
  while (logs.size() <= most) logs.push_back(std::log(static_cast<double>(logs.size())));
  return logs;
}

// begins[i] to begins[i + 1] are the i-th picture's references, the candidates come behind them.
template <typename Ngram>
std::vector<CaptionScore> score_numbers(const CaptionNumbers& captions,
                                        std::span<const std::size_t> begins, std::size_t threads) {
  constexpr std::size_t kChunk = 256;
  const DocumentFrequencies<Ngram> frequencies(captions, begins, threads);
  const std::vector<double> logs = logs_up_to(begins.size() - 1);
  std::vector<CaptionScore> scores(begins.size() - 1);
  parallel_for((scores.size() + kChunk - 1) / kChunk, threads, [&](std::size_t chunk) {
    PictureScorer<Ngram> scorer(captions, frequencies, logs);
    for (std::size_t i = chunk * kChunk; i < std::min(scores.size(), (chunk + 1) * kChunk); ++i) {
      scores[i] = scorer.score(begins.back() + i, begins[i], begins[i + 1]);
    }
  });
  return scores;
}

void check_lengths(CaptionTexts candidates, std::span<const CaptionTexts> references) {
  if (candidates.size() != references.size() || candidates.empty()) {
    throw Error(fmt::format("expected a caption for each of {} pictures, got {}", references.size(),
                            candidates.size()));
  }
  for (std::size_t i = 0; i < references.size(); ++i) {
    if (references[i].empty()) throw Error(fmt::format("picture {} has no reference caption", i));
  }
}

}  // namespace

std::array<double, kNgramOrders> BleuCounts::scores() const {
  constexpr double kSmall = 1e-9, kTiny = 1e-15;  // as pycocoevalcap: 0 / 0 is 0
  const double ratio = (length + kTiny) / (reference_length + kSmall);
  std::array<double, kNgramOrders> scores{};
  double product = 1;
  for (std::size_t n = 0; n < kNgramOrders; ++n) {
    product *= (right[n] + kTiny) / (ngrams[n] + kSmall);
    scores[n] = std::pow(product, 1. / static_cast<double>(n + 1));
    if (ratio < 1) scores[n] *= std::exp(1 - 1 / ratio);
  }
  return scores;
}

std::vector<CaptionScore> score_captions(CaptionTexts candidates,
                                         std::span<const CaptionTexts> references,
                                         std::size_t threads) {
  check_lengths(candidates, references);
  std::vector<std::string_view> texts;  // the references, then the candidates
  for (const CaptionTexts& some : references) texts.insert(texts.end(), some.begin(), some.end());
  texts.insert(texts.end(), candidates.begin(), candidates.end());
  const CaptionNumbers captions(texts, threads);
  const auto begins = begins_of(references);
  return captions.vocabulary() < kNarrowVocabulary
             ? score_numbers<NarrowNgram>(captions, begins, threads)
             : score_numbers<WideNgram>(captions, begins, threads);
}

TokenisedCaptions::TokenisedCaptions(CaptionTexts candidates,
                                     std::span<const CaptionTexts> references,
                                     std::size_t threads) {
  std::vector<std::string_view> all;
  for (const CaptionTexts& texts : references) all.insert(all.end(), texts.begin(), texts.end());
  all_references_ = tokenise_captions(all, threads);
  std::size_t at = 0;
  for (const CaptionTexts& texts : references) {
    references_.push_back(CaptionTexts(all_references_).subspan(at, texts.size()));
    at += texts.size();
  }
  all.assign(candidates.begin(), candidates.end());
  candidates_ = tokenise_captions(all, threads);
}

std::vector<CaptionScore> score_texts(CaptionTexts candidates,
                                      std::span<const CaptionTexts> references,
                                      std::size_t threads) {
  const TokenisedCaptions tokenised(candidates, references, threads);
  return score_captions(tokenised.candidates(), tokenised.references(), threads);
}

CaptionScores summarise(std::span<const CaptionScore> scores) {
  BleuCounts sums;
  CaptionScores all;
  for (const CaptionScore& score : scores) {
    sums.length += score.bleu.length;
    sums.reference_length += score.bleu.reference_length;
    for (std::size_t n = 0; n < kNgramOrders; ++n) {
      sums.ngrams[n] += score.bleu.ngrams[n];
      sums.right[n] += score.bleu.right[n];
    }
    all.rouge_l += score.rouge_l / static_cast<double>(scores.size());
    all.cider += score.cider / static_cast<double>(scores.size());
    all.cider_d += score.cider_d / static_cast<double>(scores.size());
  }
  all.bleu = sums.scores();
  return all;
}

}  // namespace blip2
