#include "blip2/evaluation/picture_scorer_internal.h"

#include <algorithm>
#include <cmath>

namespace blip2 {
namespace {

// Calls found(a's, b's) for the n-grams that both lists have.
template <typename Entries, typename Found>
void for_common(const Entries& a, const Entries& b, const Found& found) {
  for (auto i = a.begin(), j = b.begin(); i != a.end() && j != b.end();) {
    const bool less = i->ngram < j->ngram, more = j->ngram < i->ngram;
    if (less == more) found(*i, *j);
    i += !more;  // no branch, as no processor could predict it
    j += !less;
  }
}

// What a difference in length leaves of CIDEr-D, with sigma 6.
double length_penalty(double difference) {
  constexpr double kSigma = 6;
  return std::exp(-difference * difference / (2 * kSigma * kSigma));
}

}  // namespace

template <typename Ngram>
CaptionScore PictureScorer<Ngram>::score(std::size_t candidate, std::size_t first,
                                         std::size_t end) {
  if (kept_.size() < end - first) kept_.resize(end - first);
  gather(candidate, candidate_);
  for (std::size_t i = first; i < end; ++i) gather(i, kept_[i - first]);
  weigh(candidate_);
  for (std::size_t i = first; i < end; ++i) weigh(kept_[i - first]);
  references_ = std::span(kept_).first(end - first);
  CaptionScore score;
  compare(score);
  score.rouge_l = rouge_l(candidate, first, end);
  return score;
}

template <typename Ngram>
void PictureScorer<Ngram>::gather(std::size_t caption, Weighed& out) {
  for (auto& ngrams : out.ngrams) ngrams.clear();
  const auto words = captions_.words(caption);
  out.words = static_cast<double>(words.size());
  for (std::size_t begin = 0; begin < words.size(); ++begin) {
    each_ngram_at<Ngram>(words, begin, [&](std::size_t n, const Ngram& ngram) {
      frequencies_.prefetch(words[begin], hash_of(ngram));
      out.ngrams[n].push_back(ngram);
    });
  }
}

// Counts equal n-grams together and gives each its weight.
template <typename Ngram>
void PictureScorer<Ngram>::weigh(Weighed& caption) {
  for (std::size_t n = 0; n < kNgramOrders; ++n) {
    auto& ngrams = caption.ngrams[n];
    auto& entries = caption.entries[n];
    std::sort(ngrams.begin(), ngrams.end());
    entries.clear();
    for (const Ngram& ngram : ngrams) {
      const bool again = !entries.empty() && entries.back().ngram == ngram;
      if (!again) entries.push_back({ngram, 0, 0});
      ++entries.back().count;
    }
    double squares = 0;
    for (Entry& entry : entries) {
      const auto pictures =
          frequencies_.of(entry.ngram, first_word_of(entry.ngram, n), hash_of(entry.ngram));
      entry.weight = entry.count * (logs_.back() - logs_[pictures]);
      squares += entry.weight * entry.weight;
    }
    caption.norms[n] = std::sqrt(squares);
  }
}

template <typename Ngram>
double PictureScorer<Ngram>::closest_length() const {
  double closest = references_[0].words;
  for (const Weighed& r : references_) {
    const double near = std::abs(r.words - candidate_.words);
    const double best = std::abs(closest - candidate_.words);
    if (near < best || (near == best && r.words < closest)) closest = r.words;
  }
  return closest;
}

template <typename Ngram>
double PictureScorer<Ngram>::common_subsequence(std::span<const std::uint32_t> a,
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

template <typename Ngram>
double PictureScorer<Ngram>::rouge_l(std::size_t candidate, std::size_t first, std::size_t end) {
  constexpr double kBeta2 = 1.2 * 1.2;
  const auto ours = captions_.between_spaces(candidate);
  double precision = 0, recall = 0;
  for (std::size_t i = first; i < end; ++i) {
    const auto theirs = captions_.between_spaces(i);
    const double common = common_subsequence(theirs, ours);
    precision = std::max(precision, common / static_cast<double>(ours.size()));
    recall = std::max(recall, common / static_cast<double>(theirs.size()));
  }
  if (precision == 0 || recall == 0) return 0;
  return (1 + kBeta2) * precision * recall / (recall + kBeta2 * precision);
}

// BLEU's counts, CIDEr and CIDEr-D. pycocoevalcap's CIDEr counts n-grams and takes the number of
// bigrams for a caption's length; CIDEr-D of the paper has their shares in the caption, and words.
template <typename Ngram>
void PictureScorer<Ngram>::compare(CaptionScore& score) {
  const auto bigrams = [](const Weighed& caption) { return std::max(0., caption.words - 1); };
  for (std::size_t n = 0; n < kNgramOrders; ++n) most_[n].assign(candidate_.entries[n].size(), 0);
  for (const Weighed& r : references_) {
    double sum = 0, sum_of_shares = 0;
    for (std::size_t n = 0; n < kNgramOrders; ++n) {
      const double place = static_cast<double>(n);
      const double scale = std::max(1., candidate_.words - place) / std::max(1., r.words - place);
      double clipped = 0, clipped_shares = 0;
      for_common(candidate_.entries[n], r.entries[n], [&](const Entry& a, const Entry& b) {
        double& most = most_[n][static_cast<std::size_t>(&a - candidate_.entries[n].data())];
        most = std::max(most, std::min(a.count, b.count));
        clipped += std::min(a.weight, b.weight) * b.weight;
        clipped_shares += std::min(a.weight, scale * b.weight) * b.weight;
      });
      const double norms = candidate_.norms[n] * r.norms[n];
      sum += norms == 0 ? clipped : clipped / norms;
      sum_of_shares += norms == 0 ? 0 : clipped_shares / norms;
    }
    score.cider += sum * length_penalty(bigrams(candidate_) - bigrams(r));
    score.cider_d += sum_of_shares * length_penalty(candidate_.words - r.words);
  }
  const double scale = 10. / kNgramOrders / static_cast<double>(references_.size());
  score.cider *= scale;
  score.cider_d *= scale;
  score.bleu = {candidate_.words, closest_length()};
  for (std::size_t n = 0; n < kNgramOrders; ++n) {
    score.bleu.ngrams[n] = std::max(0., candidate_.words - static_cast<double>(n));
    for (const double count : most_[n]) score.bleu.right[n] += count;
  }
}

template class PictureScorer<NarrowNgram>;
template class PictureScorer<WideNgram>;

}  // namespace blip2
