#include "blip2/evaluation/caption_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "blip2/base/error.h"
#include "blip2/evaluation/caption_tokens.h"

namespace blip2 {
namespace {

using Counts = std::span<const NgramCaption::Count>;

BleuCounts count_bleu(const NgramCaption& candidate, std::span<const NgramCaption> references) {
  const auto distance = [&](const NgramCaption& r) {
    return std::abs(static_cast<double>(r.words) - candidate.words);
  };
  BleuCounts out;
  out.length = candidate.words;
  out.reference_length = references[0].words;
  double nearest = distance(references[0]);
  for (const NgramCaption& r : references) {
    const double d = distance(r);
    if (d < nearest || (d == nearest && r.words < out.reference_length)) {
      nearest = d;
      out.reference_length = r.words;
    }
  }
  std::vector<std::uint32_t> most;
  for (std::size_t n = 0; n < kNgramOrders; ++n) {
    const Counts ours = candidate.order(n);
    most.assign(ours.size(), 0);
    for (const NgramCaption& r : references) {
      const Counts theirs = r.order(n);
      for_common(ours, theirs, [&](std::size_t i, std::size_t j) {
        most[i] = std::max(most[i], std::min(ours[i].count, theirs[j].count));
      });
    }
    out.ngrams[n] = std::max(0., out.length - static_cast<double>(n));
    for (const std::uint32_t count : most) out.right[n] += count;
  }
  return out;
}

std::uint32_t longest_common_subsequence(std::span<const std::uint32_t> a,
                                         std::span<const std::uint32_t> b) {
  std::vector<std::uint32_t> row(b.size() + 1, 0);
  for (const std::uint32_t word : a) {
    std::uint32_t diagonal = 0;  // the row above, one to the left
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::uint32_t above = row[j];
      row[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row.back();
}

double rouge_l(const NgramCaption& candidate, std::span<const NgramCaption> references) {
  constexpr double kBeta2 = 1.2 * 1.2;
  const auto& ours = candidate.between_spaces;
  double precision = 0, recall = 0;
  for (const NgramCaption& reference : references) {
    const auto& theirs = reference.between_spaces;
    const double common = longest_common_subsequence(theirs, ours);
    precision = std::max(precision, common / static_cast<double>(ours.size()));
    recall = std::max(recall, common / static_cast<double>(theirs.size()));
  }
  if (precision == 0 || recall == 0) return 0;
  return (1 + kBeta2) * precision * recall / (recall + kBeta2 * precision);
}

// n-grams weighed by how few pictures' references have them.
class Rarity {
 public:
  Rarity(std::span<const std::vector<NgramCaption>> references, std::size_t ngrams)
      : rarity_(ngrams, 0) {
    std::vector<std::size_t> last(ngrams, 0);  // the picture that had the n-gram, from 1
    for (std::size_t i = 0; i < references.size(); ++i) {
      for (const NgramCaption& caption : references[i]) {
        for (const auto& c : caption.counts) {
          if (last[c.ngram] != i + 1) ++rarity_[c.ngram];
          last[c.ngram] = i + 1;
        }
      }
    }
    const double log_pictures = std::log(static_cast<double>(references.size()));
    for (double& pictures : rarity_) pictures = log_pictures - std::log(std::max(1., pictures));
  }

  std::vector<double> weights(Counts counts) const {
    std::vector<double> out;
    out.reserve(counts.size());
    for (const auto& c : counts) out.push_back(c.count * rarity_[c.ngram]);
    return out;
  }

 private:
  std::vector<double> rarity_;  // log(pictures / pictures whose references have the n-gram)
};

double norm(const std::vector<double>& weights) {
  double sum = 0;
  for (const double weight : weights) sum += weight * weight;
  return std::sqrt(sum);
}

// Clipped cosine of two captions' n-grams of one order.
double cosine(Counts a, Counts b, const Rarity& rarity) {
  const std::vector<double> ours = rarity.weights(a), theirs = rarity.weights(b);
  double sum = 0;
  for_common(
      a, b, [&](std::size_t i, std::size_t j) { sum += std::min(ours[i], theirs[j]) * theirs[j]; });
  const double norms = norm(ours) * norm(theirs);
  return norms == 0 ? sum : sum / norms;
}

// pycocoevalcap takes the number of bigrams for a caption's length.
double bigrams(const NgramCaption& caption) {
  return std::max(0., static_cast<double>(caption.words) - 1);
}

double cider(const NgramCaption& candidate, std::span<const NgramCaption> references,
             const Rarity& rarity) {
  constexpr double kSigma = 6;
  double sum = 0;
  for (const NgramCaption& reference : references) {
    const double delta = bigrams(candidate) - bigrams(reference);
    const double penalty = std::exp(-delta * delta / (2 * kSigma * kSigma));
    for (std::size_t n = 0; n < kNgramOrders; ++n) {
      sum += penalty * cosine(candidate.order(n), reference.order(n), rarity);
    }
  }
  return 10 * sum / kNgramOrders / static_cast<double>(references.size());
}

void check_lengths(std::span<const std::string> candidates,
                   std::span<const std::vector<std::string>> references) {
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

std::vector<CaptionScore> score_captions(std::span<const std::string> candidates,
                                         std::span<const std::vector<std::string>> references) {
  check_lengths(candidates, references);
  NgramNumbers numbers;
  std::vector<NgramCaption> ours;
  std::vector<std::vector<NgramCaption>> theirs(references.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    ours.push_back(number_caption(candidates[i], numbers));
    for (const auto& text : references[i]) theirs[i].push_back(number_caption(text, numbers));
  }
  const Rarity rarity(theirs, numbers.size());
  std::vector<CaptionScore> scores;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    scores.push_back({count_bleu(ours[i], theirs[i]), rouge_l(ours[i], theirs[i]),
                      cider(ours[i], theirs[i], rarity)});
  }
  return scores;
}

std::vector<CaptionScore> score_texts(std::span<const std::string> candidates,
                                      std::span<const std::vector<std::string>> references) {
  std::vector<std::string> all;
  for (const auto& texts : references) all.insert(all.end(), texts.begin(), texts.end());
  all = tokenise_captions(all);
  std::vector<std::vector<std::string>> tokenised;
  auto next = std::make_move_iterator(all.begin());
  for (const auto& texts : references) {
    const auto end = next + static_cast<std::ptrdiff_t>(texts.size());
    tokenised.emplace_back(next, end);
    next = end;
  }
  return score_captions(tokenise_captions(candidates), tokenised);
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
