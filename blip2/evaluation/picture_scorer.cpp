#include "blip2/evaluation/picture_scorer_internal.h"

#include <algorithm>
#include <cmath>

namespace blip2 {
namespace {

// Calls found(a's, b's) for the n-grams that both lists have.
template <typename Entries, typename Found>
void for_common(const Entries& a, const Entries& b, const Found& found) {
  for (auto i = a.begin(), j = b.begin(); i != a.end() && j != b.end();) {
    if (i->ngram == j->ngram) {
      found(*i++, *j++);
    } else if (i->ngram < j->ngram) {
      ++i;
    } else {
      ++j;
    }
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
  score.bleu = count_bleu();
  score.rouge_l = rouge_l(candidate, first, end);
  add_cider(score);
  return score;
}

template <typename Ngram>
void PictureScorer<Ngram>::gather(std::size_t caption, Weighed& out) {
  for (auto& entries : out.entries) entries.clear();
  const auto words = captions_.words(caption);
  out.words = static_cast<double>(words.size());
  each_ngram<Ngram>(words, [&](std::size_t n, const Ngram& ngram) {
    frequencies_.prefetch(hash_of(ngram));
    out.entries[n].push_back({ngram, 1, 0});
  });
}

// Counts equal n-grams together and gives each its weight.
template <typename Ngram>
void PictureScorer<Ngram>::weigh(Weighed& caption) {
  for (std::size_t n = 0; n < kNgramOrders; ++n) {
    auto& entries = caption.entries[n];
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.ngram < b.ngram; });
    std::size_t used = 0;
    for (const Entry& entry : entries) {
      if (used > 0 && entries[used - 1].ngram == entry.ngram) {
        ++entries[used - 1].count;
      } else {
        entries[used++] = entry;
      }
    }
    entries.resize(used);
    double squares = 0;
    for (Entry& entry : entries) {
      const auto pictures = frequencies_.of(entry.ngram, hash_of(entry.ngram));
      entry.weight = entry.count * (logs_.back() - logs_[pictures]);
      squares += entry.weight * entry.weight;
    }
    caption.norms[n] = std::sqrt(squares);
  }
}

template <typename Ngram>
BleuCounts PictureScorer<Ngram>::count_bleu() {
  BleuCounts out;
  out.length = candidate_.words;
  out.reference_length = references_[0].words;
  for (const Weighed& r : references_) {
    const double near = std::abs(r.words - out.length);
    const double best = std::abs(out.reference_length - out.length);
    if (near < best || (near == best && r.words < out.reference_length)) {
      out.reference_length = r.words;
    }
  }
  for (std::size_t n = 0; n < kNgramOrders; ++n) {
    const auto& ours = candidate_.entries[n];
    most_.assign(ours.size(), 0);
    for (const Weighed& r : references_) {
      for_common(ours, r.entries[n], [&](const Entry& a, const Entry& b) {
        double& most = most_[static_cast<std::size_t>(&a - ours.data())];
        most = std::max(most, std::min(a.count, b.count));
      });
    }
    out.ngrams[n] = std::max(0., out.length - static_cast<double>(n));
    for (const double count : most_) out.right[n] += count;
  }
  return out;
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

// pycocoevalcap's CIDEr counts n-grams and takes the number of bigrams for a caption's length;
// CIDEr-D of the paper has their shares in the caption, and words.
template <typename Ngram>
void PictureScorer<Ngram>::add_cider(CaptionScore& score) const {
  const auto bigrams = [](const Weighed& caption) { return std::max(0., caption.words - 1); };
  for (const Weighed& r : references_) {
    double sum = 0, sum_of_shares = 0;
    for (std::size_t n = 0; n < kNgramOrders; ++n) {
      const double place = static_cast<double>(n);
      const double scale = std::max(1., candidate_.words - place) / std::max(1., r.words - place);
      double clipped = 0, clipped_shares = 0;
      for_common(candidate_.entries[n], r.entries[n], [&](const Entry& a, const Entry& b) {
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
}

template class PictureScorer<NarrowNgram>;
template class PictureScorer<WideNgram>;

}  // namespace blip2
