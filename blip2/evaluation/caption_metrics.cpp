#include "blip2/evaluation/caption_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/base/parallel.h"
#include "blip2/evaluation/caption_tokens.h"

namespace blip2 {
namespace {

using Counts = std::span<const NgramCount>;

// What the captions of one picture are measured with; one for each thread.
class PictureScorer {
 public:
  // `rarity` of each n-gram: log(pictures / pictures whose references have it).
  explicit PictureScorer(const std::vector<double>& rarity) : rarity_(rarity) {}

  CaptionScore score(const NgramCaption& candidate, const std::vector<NgramCaption>& references) {
    return {count_bleu(candidate, references), rouge_l(candidate, references),
            cider(candidate, references)};
  }

 private:
  static double closest_length(double words, const std::vector<NgramCaption>& references) {
    double closest = references[0].words;
    for (const NgramCaption& r : references) {
      const double near = std::abs(r.words - words), best = std::abs(closest - words);
      if (near < best || (near == best && r.words < closest)) closest = r.words;
    }
    return closest;
  }

  BleuCounts count_bleu(const NgramCaption& candidate,
                        const std::vector<NgramCaption>& references) {
    BleuCounts out;
    out.length = candidate.words;
    out.reference_length = closest_length(candidate.words, references);
    for (std::size_t n = 0; n < kNgramOrders; ++n) {
      const Counts ours = candidate.counts[n];
      most_.assign(ours.size(), 0);
      for (const NgramCaption& r : references) {
        const Counts theirs = r.counts[n];
        for_common(ours, theirs, [&](std::size_t i, std::size_t j) {
          most_[i] = std::max(most_[i], std::min(ours[i].count, theirs[j].count));
        });
      }
      out.ngrams[n] = std::max(0., out.length - static_cast<double>(n));
      for (const std::uint32_t count : most_) out.right[n] += count;
    }
    return out;
  }

  double longest_common_subsequence(std::span<const std::uint32_t> a,
                                    std::span<const std::uint32_t> b) {
    row_.assign(b.size() + 1, 0);
    for (const std::uint32_t word : a) {
      std::uint32_t diagonal = 0;  // the row above, one to the left
      for (std::size_t j = 1; j <= b.size(); ++j) {
        const std::uint32_t above = row_[j];
        row_[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, row_[j - 1]);
        diagonal = above;
      }
    }
    return row_.back();
  }

  double rouge_l(const NgramCaption& candidate, const std::vector<NgramCaption>& references) {
    constexpr double kBeta2 = 1.2 * 1.2;
    const auto ours = candidate.between_spaces;
    double precision = 0, recall = 0;
    for (const NgramCaption& reference : references) {
      const auto theirs = reference.between_spaces;
      const double common = longest_common_subsequence(theirs, ours);
      precision = std::max(precision, common / static_cast<double>(ours.size()));
      recall = std::max(recall, common / static_cast<double>(theirs.size()));
    }
    if (precision == 0 || recall == 0) return 0;
    return (1 + kBeta2) * precision * recall / (recall + kBeta2 * precision);
  }

  double weight(const NgramCount& c) const { return c.count * rarity_[c.ngram]; }
  double norm(Counts counts) const {
    double sum = 0;
    for (const NgramCount& c : counts) sum += weight(c) * weight(c);
    return std::sqrt(sum);
  }

  // Clipped cosine of two captions' n-grams of one order.
  double cosine(Counts ours, double our_norm, Counts theirs) const {
    double sum = 0;
    for_common(ours, theirs, [&](std::size_t i, std::size_t j) {
      sum += std::min(weight(ours[i]), weight(theirs[j])) * weight(theirs[j]);
    });
    const double norms = our_norm * norm(theirs);
    return norms == 0 ? sum : sum / norms;
  }

  // pycocoevalcap takes the number of bigrams for a caption's length.
  static double bigrams(const NgramCaption& caption) { return std::max(0., caption.words - 1); }

  double cider(const NgramCaption& candidate, const std::vector<NgramCaption>& references) const {
    constexpr double kSigma = 6;
    double sum = 0;
    for (std::size_t n = 0; n < kNgramOrders; ++n) {
      const double our_norm = norm(candidate.counts[n]);
      for (const NgramCaption& reference : references) {
        const double delta = bigrams(candidate) - bigrams(reference);
        sum += cosine(candidate.counts[n], our_norm, reference.counts[n]) *
               std::exp(-delta * delta / (2 * kSigma * kSigma));
      }
    }
    return 10 * sum / kNgramOrders / static_cast<double>(references.size());
  }

  const std::vector<double>& rarity_;
  std::vector<std::uint32_t> most_, row_;
};

// begins[i] to begins[i + 1] are the i-th picture's references among all.
std::vector<std::size_t> begins_of(std::span<const CaptionTexts> references) {
  std::vector<std::size_t> begins{0};
  for (const CaptionTexts& texts : references) begins.push_back(begins.back() + texts.size());
  return begins;
}

std::vector<double> rarity_of(const NgramCaptions& references,
                              const std::vector<std::size_t>& begins, std::size_t ngrams) {
  std::vector<double> rarity(ngrams, 0);
  std::vector<std::uint32_t> last(ngrams, 0);  // the picture that had the n-gram, from 1
  for (std::uint32_t picture = 1; picture < begins.size(); ++picture) {
    for (std::size_t r = begins[picture - 1]; r < begins[picture]; ++r) {
      for (const Counts counts : references[r].counts) {
        for (const NgramCount& c : counts) {
          if (last[c.ngram] != picture) ++rarity[c.ngram];
          last[c.ngram] = picture;
        }
      }
    }
  }
  const double log_pictures = std::log(static_cast<double>(begins.size() - 1));
  for (double& pictures : rarity) pictures = log_pictures - std::log(std::max(1., pictures));
  return rarity;
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
  constexpr std::size_t kChunk = 256;
  check_lengths(candidates, references);
  NgramCaptions captions;  // the references, then the candidates
  for (const CaptionTexts& texts : references) {
    for (const std::string& text : texts) captions.add(text);
  }
  const auto begins = begins_of(references);
  for (const std::string& text : candidates) captions.add(text);
  const std::vector<double> rarity = rarity_of(captions, begins, captions.ngrams());
  std::vector<CaptionScore> scores(candidates.size());
  parallel_for((scores.size() + kChunk - 1) / kChunk, threads, [&](std::size_t chunk) {
    PictureScorer scorer(rarity);
    std::vector<NgramCaption> theirs;
    for (std::size_t i = chunk * kChunk; i < std::min(scores.size(), (chunk + 1) * kChunk); ++i) {
      theirs.clear();
      for (std::size_t r = begins[i]; r < begins[i + 1]; ++r) theirs.push_back(captions[r]);
      scores[i] = scorer.score(captions[begins.back() + i], theirs);
    }
  });
  return scores;
}

std::vector<CaptionScore> score_texts(CaptionTexts candidates,
                                      std::span<const CaptionTexts> references,
                                      std::size_t threads) {
  std::vector<std::string_view> all;
  for (const CaptionTexts& texts : references) all.insert(all.end(), texts.begin(), texts.end());
  const auto tokenised = tokenise_captions(all, threads);
  std::vector<CaptionTexts> parts;
  std::size_t at = 0;
  for (const CaptionTexts& texts : references) {
    parts.push_back(CaptionTexts(tokenised).subspan(at, texts.size()));
    at += texts.size();
  }
  all.assign(candidates.begin(), candidates.end());
  return score_captions(tokenise_captions(all, threads), parts, threads);
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
  }
  all.bleu = sums.scores();
  return all;
}

}  // namespace blip2
