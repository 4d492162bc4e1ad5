#include "blip2/search/scan.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/parallel.h"
#include "blip2/search/part_scan_internal.h"

namespace blip2 {
namespace {

constexpr std::size_t kChunk = 4096;  // pictures that a thread takes at a time
constexpr float kNever = PartScan::kNever;

// A picture with its score or a bound on it.
struct Scored {
  float score;
  std::size_t part, row;

  // Better first: the order of hits.
  bool operator<(const Scored& other) const {
    if (score != other.score) return score > other.score;
    return std::pair(part, row) < std::pair(other.part, other.row);
  }
};

// The best `top` of what it is offered; top > 0.
class Best {
 public:
  explicit Best(std::size_t top) : top_(top) {}

  // What a picture must reach to be among the best.
  float least() const { return kept_.size() < top_ ? kNever : kept_.front().score; }
  void offer(const Scored& one) {
    if (kept_.size() == top_) {
      if (!(one < kept_.front())) return;
      std::pop_heap(kept_.begin(), kept_.end());
      kept_.back() = one;
    } else {
      kept_.push_back(one);
    }
    std::push_heap(kept_.begin(), kept_.end());
  }
  void offer(const Best& others) {
    for (const Scored& one : others.kept_) offer(one);
  }
  std::vector<Scored> sorted() && {
    std::sort_heap(kept_.begin(), kept_.end());
    return std::move(kept_);
  }

 private:
  std::size_t top_;
  std::vector<Scored> kept_;  // a heap whose worst is in front
};

// Rows [first, last) of a part, whose bounds lie from `at` on.
struct Chunk {
  std::size_t part, first, last, at;
};

class Scan {
 public:
  Scan(std::span<const CodePart> parts, std::span<const SearchTerm> terms, std::size_t threads)
      : threads_(std::max<std::size_t>(threads, 1)) {
    need(!terms.empty(), "expected a term to look for", "search");
    for (const CodePart& part : parts) add(PartScan(part, terms));
  }

  // The best `top` by every body.
  std::vector<Scored> full(std::size_t top) const {
    return best_of(top, [&](const Chunk& chunk, Best& best) {
      const PartScan& part = parts_[chunk.part];
      for (std::size_t row = chunk.first; row < chunk.last; ++row) {
        if (part.wanted(row)) best.offer({part.score(row), chunk.part, row});
      }
    });
  }

  // The same: bounds for all, then the scores of the most promising ones, whose worst of the best
  // all others must reach by their bounds.
  std::vector<Scored> pruned(std::size_t top) const {
    std::vector<float> bounds(pictures_);
    Best best(top);
    for (const Scored& one : score_promising(top, bounds)) best.offer(one);
    const float least = best.least();
    const auto others = best_of(top, [&](const Chunk& chunk, Best& some) {
      offer_reaching(least, chunk, bounds.data() + chunk.at, some);
    });
    for (const Scored& one : others) best.offer(one);
    return std::move(best).sorted();
  }

  std::vector<Hit> hits(const std::vector<Scored>& best) const {
    std::vector<Hit> hits;
    for (const Scored& one : best) {
      hits.push_back({one.part, one.row, one.score, parts_[one.part].term_scores(one.row)});
    }
    return hits;
  }

  std::vector<float> all() const {
    std::vector<float> scores(pictures_);
    parallel_for(chunks_.size(), threads_, [&](std::size_t i) {
      const Chunk& chunk = chunks_[i];
      for (std::size_t row = chunk.first; row < chunk.last; ++row) {
        scores[chunk.at + row - chunk.first] = parts_[chunk.part].score(row);
      }
    });
    return scores;
  }

 private:
  void add(PartScan part) {
    for (std::size_t first = 0; first < part.pictures(); first += kChunk) {
      const std::size_t last = std::min(first + kChunk, part.pictures());
      chunks_.push_back({parts_.size(), first, last, pictures_ + first});
    }
    first_.push_back(pictures_);
    pictures_ += part.pictures();
    parts_.push_back(std::move(part));
  }

  // The best of those that visit(chunk, best) offers.
  template <typename Visit>
  std::vector<Scored> best_of(std::size_t top, const Visit& visit) const {
    std::vector<Best> found(chunks_.size(), Best(top));
    parallel_for(chunks_.size(), threads_, [&](std::size_t i) { visit(chunks_[i], found[i]); });
    Best best(top);
    for (const Best& some : found) best.offer(some);
    return std::move(best).sorted();
  }

  // Writes the bounds of all pictures, and minus infinity for the most promising ones and those
  // that are not wanted. Returns the most promising ones with their scores.
  std::vector<Scored> score_promising(std::size_t top, std::vector<float>& bounds) const {
    const std::size_t promising = std::max<std::size_t>(2 * std::min(top, pictures_), 256);
    std::vector<Scored> some = best_of(promising, [&](const Chunk& chunk, Best& best) {
      float* out = bounds.data() + chunk.at;
      parts_[chunk.part].bounds(chunk.first, chunk.last, out);
      // A chunk offers few, so that this costs little; those beyond are found by their bounds.
      Best here(std::min(promising, 2 * top));
      for (std::size_t row = chunk.first; row < chunk.last; ++row, ++out) {
        if (*out > kNever) here.offer({*out, chunk.part, row});
      }
      best.offer(here);
    });
    parallel_for(some.size(), threads_,
                 [&](std::size_t i) { some[i].score = parts_[some[i].part].score(some[i].row); });
    for (const Scored& one : some) bounds[first_[one.part] + one.row] = kNever;
    return some;
  }

  void offer_reaching(float least, const Chunk& chunk, const float* bounds, Best& best) const {
    const PartScan& part = parts_[chunk.part];
    for (std::size_t row = chunk.first; row < chunk.last; ++row, ++bounds) {
      if (*bounds == kNever || *bounds < least) continue;
      const float score = part.score_from(std::max(least, best.least()), row);
      if (score >= least) best.offer({score, chunk.part, row});
    }
  }

  std::size_t threads_, pictures_ = 0;
  std::vector<PartScan> parts_;
  std::vector<std::size_t> first_;  // of each part: the place of its first picture's bound
  std::vector<Chunk> chunks_;
};

}  // namespace

std::size_t CodePart::pictures() const {
  return bodies.size() / CodeLayout(basis->shape()).body;
}

std::vector<Hit> best_pictures(std::span<const CodePart> parts, std::span<const SearchTerm> terms,
                               std::size_t top, std::size_t threads, ScanWay way) {
  const Scan scan(parts, terms, threads);
  if (top == 0) return {};
  return scan.hits(way == ScanWay::kFull ? scan.full(top) : scan.pruned(top));
}

std::vector<float> all_scores(const CodePart& part, std::span<const SearchTerm> terms,
                              std::size_t threads) {
  return Scan(std::span(&part, 1), terms, threads).all();
}

}  // namespace blip2
