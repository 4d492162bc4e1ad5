#include "blip2/search/scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "blip2/base/error.h"
#include "blip2/base/parallel.h"
#include "blip2/search/scan_query_internal.h"

namespace blip2 {
namespace {

constexpr std::size_t kChunk = 4096;  // pictures that a thread takes at a time

// A part with what is looked for.
struct PartScan {
  const CodePart* part;
  CodeLayout layout;
  std::vector<ScanQuery> queries;
  std::size_t first;  // number of the part's first picture among all

  bool wanted(std::size_t row) const { return (part->wanted[row / 64] >> row % 64 & 1) != 0; }
  float score(std::size_t row) const {
    float sum = 0;
    for (const ScanQuery& query : queries) {
      sum += query.weight() * query.score(part->bodies.data() + row * layout.body);
    }
    return sum;
  }
  // Not less than score(), whose sum over terms rounds, too.
  float bound(std::size_t row) const {
    float sum = 0, size = 0;
    for (const ScanQuery& query : queries) {
      const float bound = query.bound(part->heads.data() + row * layout.head);
      sum += bound;
      size += std::abs(bound);
    }
    return sum + size * 1e-6f;
  }
};

// A picture by its number among those of all parts, with its score or a bound on it.
struct Scored {
  float score;
  std::size_t number;
  // Better first: the order of hits.
  bool operator<(const Scored& other) const {
    return score != other.score ? score > other.score : number < other.number;
  }
};

class Scan {
 public:
  Scan(std::span<const CodePart> parts, std::span<const SearchTerm> terms, std::size_t threads)
      : threads_(std::max<std::size_t>(threads, 1)) {
    need(!terms.empty(), "expected a term to look for", "search");
    for (const CodePart& part : parts) {
      const std::size_t count = part.pictures();
      const CodeLayout layout(part.basis->shape());
      need(part.heads.size() == count * layout.head && part.wanted.size() >= (count + 63) / 64,
           "a part's heads, bodies and bits are of different numbers of pictures", "search");
      PartScan scan{&part, layout, {}, pictures_};
      for (const SearchTerm& term : terms) scan.queries.emplace_back(term, *part.basis);
      parts_.push_back(std::move(scan));
      pictures_ += count;
    }
  }

  // The best `top` by every body.
  std::vector<Scored> full(std::size_t top) const {
    return best_of(top, [](const PartScan& part, std::size_t row) { return part.score(row); });
  }

  // The same, by bounds first.
  std::vector<Scored> pruned(std::size_t top) const {
    std::vector<Scored> rest =
        best_of(std::numeric_limits<std::size_t>::max(),
                [](const PartScan& part, std::size_t row) { return part.bound(row); });
    std::vector<Scored> best;
    // The most promising ones first, in growing rounds, until no bound reaches the last of the
    // best.
    for (std::size_t done = 0, round = std::max<std::size_t>(4 * top, 512); done < rest.size();
         round *= 4) {
      const std::size_t end = std::min(done + round, rest.size());
      const auto at = [&](std::size_t i) { return rest.begin() + static_cast<std::ptrdiff_t>(i); };
      std::nth_element(at(done), at(end - 1), rest.end());
      merge(best, scored(std::span(rest).subspan(done, end - done)), top);
      done = end;
      if (best.size() < top) continue;
      rest.erase(std::remove_if(at(done), rest.end(),
                                [&](const Scored& one) { return one.score < best.back().score; }),
                 rest.end());
    }
    return best;
  }

  std::vector<Hit> hits(const std::vector<Scored>& best) const {
    std::vector<Hit> hits;
    for (const Scored& one : best) {
      const PartScan& part = part_of(one.number);
      Hit hit{
          static_cast<std::size_t>(&part - parts_.data()), one.number - part.first, one.score, {}};
      for (const ScanQuery& query : part.queries) {
        hit.term_scores.push_back(
            query.score(part.part->bodies.data() + hit.row * part.layout.body));
      }
      hits.push_back(std::move(hit));
    }
    return hits;
  }

  std::vector<float> all() const {
    std::vector<float> scores(pictures_);
    parallel_for((pictures_ + kChunk - 1) / kChunk, threads_, [&](std::size_t chunk) {
      for_rows(chunk, [&](const PartScan& part, std::size_t row) {
        scores[part.first + row] = part.score(row);
      });
    });
    return scores;
  }

 private:
  const PartScan& part_of(std::size_t number) const {
    const auto next = std::upper_bound(
        parts_.begin(), parts_.end(), number,
        [](std::size_t value, const PartScan& part) { return value < part.first; });
    return *std::prev(next);
  }

  // Calls visit(part, row) for the pictures of a chunk.
  template <typename Visit>
  void for_rows(std::size_t chunk, const Visit& visit) const {
    std::size_t number = chunk * kChunk;
    const std::size_t end = std::min(number + kChunk, pictures_);
    while (number < end) {
      const PartScan& part = part_of(number);
      const std::size_t stop = std::min(end, part.first + part.part->pictures());
      for (; number < stop; ++number) visit(part, number - part.first);
    }
  }

  static void keep_best(std::vector<Scored>& some, std::size_t top) {
    if (some.size() > top) {
      std::nth_element(some.begin(), some.begin() + static_cast<std::ptrdiff_t>(top), some.end());
      some.resize(top);
    }
  }

  static void merge(std::vector<Scored>& best, const std::vector<Scored>& more, std::size_t top) {
    best.insert(best.end(), more.begin(), more.end());
    keep_best(best, top);
    std::sort(best.begin(), best.end());
  }

  // The `top` wanted pictures of the largest value(part, row), in no order.
  template <typename Value>
  std::vector<Scored> best_of(std::size_t top, const Value& value) const {
    const std::size_t chunks = (pictures_ + kChunk - 1) / kChunk;
    std::vector<std::vector<Scored>> found(chunks);
    parallel_for(chunks, threads_, [&](std::size_t chunk) {
      auto& some = found[chunk];
      for_rows(chunk, [&](const PartScan& part, std::size_t row) {
        if (part.wanted(row)) some.push_back({value(part, row), part.first + row});
      });
      keep_best(some, top);
    });
    std::vector<Scored> best;
    for (const auto& some : found) best.insert(best.end(), some.begin(), some.end());
    keep_best(best, top);
    return best;
  }

  // Pictures with their scores in place of bounds.
  std::vector<Scored> scored(std::span<const Scored> some) const {
    constexpr std::size_t kAtOnce = 64;
    std::vector<Scored> out(some.begin(), some.end());
    parallel_for((out.size() + kAtOnce - 1) / kAtOnce, threads_, [&](std::size_t chunk) {
      const std::size_t end = std::min((chunk + 1) * kAtOnce, out.size());
      for (std::size_t i = chunk * kAtOnce; i < end; ++i) {
        const PartScan& part = part_of(out[i].number);
        out[i].score = part.score(out[i].number - part.first);
      }
    });
    return out;
  }

  std::size_t threads_, pictures_ = 0;
  std::vector<PartScan> parts_;
};

}  // namespace

std::size_t CodePart::pictures() const {
  return bodies.size() / CodeLayout(basis->shape()).body;
}

std::vector<Hit> best_pictures(std::span<const CodePart> parts, std::span<const SearchTerm> terms,
                               std::size_t top, std::size_t threads, ScanWay way) {
  const Scan scan(parts, terms, threads);
  if (top == 0) return {};
  auto best = way == ScanWay::kFull ? scan.full(top) : scan.pruned(top);
  std::sort(best.begin(), best.end());
  return scan.hits(best);
}

std::vector<float> all_scores(const CodePart& part, std::span<const SearchTerm> terms,
                              std::size_t threads) {
  return Scan(std::span(&part, 1), terms, threads).all();
}

}  // namespace blip2
