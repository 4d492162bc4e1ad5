#include "blip2/evaluation/caption_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

constexpr std::size_t kOrders = 4;  // n-grams of one to four words

// n-grams of one order, their words joined by spaces, with their counts.
using Counts = std::map<std::string, double>;

struct Caption {
  double words = 0;
  std::array<Counts, kOrders> counts;
};

std::vector<std::string> split_words(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text + " ") {
    if (c != ' ' && (c < '\t' || c > '\r')) {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, {}));
    }
  }
  return words;
}

Caption count_ngrams(const std::string& text) {
  const std::vector<std::string> words = split_words(text);
  Caption caption;
  caption.words = static_cast<double>(words.size());
  for (std::size_t begin = 0; begin < words.size(); ++begin) {
    std::string ngram;
    for (std::size_t n = 0; n < kOrders && begin + n < words.size(); ++n) {
      ngram += (n > 0 ? " " : "") + words[begin + n];
      ++caption.counts[n][ngram];
    }
  }
  return caption;
}

double count_of(const Counts& counts, const std::string& ngram) {
  const auto found = counts.find(ngram);
  return found == counts.end() ? 0 : found->second;
}

// Sums over the set: candidate and closest reference lengths, n-grams, and those that a reference
// has too (as often as the reference that has it most often).
struct BleuSums {
  double length = 0, reference_length = 0;
  std::array<double, kOrders> ngrams{}, right{};

  void add(const Caption& candidate, const std::vector<Caption>& references) {
    double closest = references[0].words;
    for (const Caption& r : references) {
      const double near = std::abs(r.words - candidate.words);
      const double best = std::abs(closest - candidate.words);
      if (near < best || (near == best && r.words < closest)) closest = r.words;
    }
    length += candidate.words;
    reference_length += closest;
    for (std::size_t n = 0; n < kOrders; ++n) {
      ngrams[n] += std::max(0., candidate.words - static_cast<double>(n));
      for (const auto& [ngram, count] : candidate.counts[n]) {
        double most = 0;
        for (const Caption& r : references) most = std::max(most, count_of(r.counts[n], ngram));
        right[n] += std::min(count, most);
      }
    }
  }

  std::array<double, kOrders> scores() const {
    constexpr double kSmall = 1e-9, kTiny = 1e-15;  // as pycocoevalcap: 0 / 0 is 0
    const double ratio = (length + kTiny) / (reference_length + kSmall);
    std::array<double, kOrders> scores{};
    double product = 1;
    for (std::size_t n = 0; n < kOrders; ++n) {
      product *= (right[n] + kTiny) / (ngrams[n] + kSmall);
      scores[n] = std::pow(product, 1. / static_cast<double>(n + 1));
      if (ratio < 1) scores[n] *= std::exp(1 - 1 / ratio);
    }
    return scores;
  }
};

// Unlike split_words, each single space separates: an empty text is one empty word.
std::vector<std::string_view> split_at_spaces(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t end = 0; (end = text.find(' ')) != text.npos; text.remove_prefix(end + 1)) {
    words.push_back(text.substr(0, end));
  }
  words.push_back(text);
  return words;
}

double longest_common_subsequence(const std::vector<std::string_view>& a,
                                  const std::vector<std::string_view>& b) {
  std::vector<double> row(b.size() + 1, 0.);
  for (const std::string_view word : a) {
    double diagonal = 0;  // the row above, one to the left
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const double above = row[j];
      row[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row.back();
}

double rouge_l(const std::string& candidate, const std::vector<std::string>& references) {
  constexpr double kBeta2 = 1.2 * 1.2;
  const auto ours = split_at_spaces(candidate);
  double precision = 0, recall = 0;
  for (const std::string& reference : references) {
    const auto theirs = split_at_spaces(reference);
    const double common = longest_common_subsequence(theirs, ours);
    precision = std::max(precision, common / static_cast<double>(ours.size()));
    recall = std::max(recall, common / static_cast<double>(theirs.size()));
  }
  if (precision == 0 || recall == 0) return 0;
  return (1 + kBeta2) * precision * recall / (recall + kBeta2 * precision);
}

// In how many pictures' references each n-gram occurs.
std::array<Counts, kOrders> document_frequencies(
    const std::vector<std::vector<Caption>>& references) {
  std::array<Counts, kOrders> frequencies;
  for (const auto& picture : references) {
    for (std::size_t n = 0; n < kOrders; ++n) {
      std::set<std::string> seen;
      for (const Caption& caption : picture) {
        for (const auto& [ngram, count] : caption.counts[n]) seen.insert(ngram);
      }
      for (const std::string& ngram : seen) ++frequencies[n][ngram];
    }
  }
  return frequencies;
}

// A caption's n-grams of one order weighed by their rarity.
struct Weighed {
  Counts weights;
  double norm = 0;
};

Weighed weigh(const Counts& counts, const Counts& frequencies, double log_pictures) {
  Weighed weighed;
  for (const auto& [ngram, count] : counts) {
    const double weight =
        count * (log_pictures - std::log(std::max(1., count_of(frequencies, ngram))));
    weighed.weights.emplace_hint(weighed.weights.end(), ngram, weight);
    weighed.norm += weight * weight;
  }
  weighed.norm = std::sqrt(weighed.norm);
  return weighed;
}

// Clipped cosine of two captions' n-grams of one order.
double cosine(const Weighed& candidate, const Weighed& reference) {
  double sum = 0;
  for (const auto& [ngram, weight] : candidate.weights) {
    const double theirs = count_of(reference.weights, ngram);
    sum += std::min(weight, theirs) * theirs;
  }
  const double norms = candidate.norm * reference.norm;
  return norms == 0 ? sum : sum / norms;
}

// pycocoevalcap takes the number of bigrams for a caption's length.
double bigrams(const Caption& caption) {
  return std::max(0., caption.words - 1);
}

double cider_of(const Caption& candidate, const std::vector<Caption>& references,
                const std::array<Counts, kOrders>& frequencies, double log_pictures) {
  constexpr double kSigma = 6;
  double sum = 0;
  for (std::size_t n = 0; n < kOrders; ++n) {
    const Weighed ours = weigh(candidate.counts[n], frequencies[n], log_pictures);
    for (const Caption& reference : references) {
      const double delta = bigrams(candidate) - bigrams(reference);
      sum += cosine(ours, weigh(reference.counts[n], frequencies[n], log_pictures)) *
             std::exp(-delta * delta / (2 * kSigma * kSigma));
    }
  }
  return 10 * sum / kOrders / static_cast<double>(references.size());
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

CaptionScores score_captions(std::span<const std::string> candidates,
                             std::span<const std::vector<std::string>> references) {
  check_lengths(candidates, references);
  std::vector<Caption> ours;
  std::vector<std::vector<Caption>> theirs(references.size());
  BleuSums bleu;
  CaptionScores scores;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    ours.push_back(count_ngrams(candidates[i]));
    for (const std::string& text : references[i]) theirs[i].push_back(count_ngrams(text));
    bleu.add(ours[i], theirs[i]);
    scores.rouge_l += rouge_l(candidates[i], references[i]);
  }
  const auto pictures = static_cast<double>(candidates.size());
  const auto frequencies = document_frequencies(theirs);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    scores.cider += cider_of(ours[i], theirs[i], frequencies, std::log(pictures));
  }
  scores.bleu = bleu.scores();
  scores.rouge_l /= pictures;
  scores.cider /= pictures;
  return scores;
}

}  // namespace blip2
