#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <numeric>
#include <span>
#include <unordered_map>
#include <utility>

#include "blip2/base/parallel.h"
#include "blip2/search/scan.h"
#include "blip2/search/similar_pairs_internal.h"

namespace blip2 {
namespace {

constexpr std::size_t kSketch = 32;  // numbers by which pictures are compared first
constexpr std::size_t kBlock = 256;  // pictures of a piece of work
using Sketch = std::array<float, kSketch>;

// The first numbers of a picture's rotated mean vector. The squared distance of two pictures' means
// is at most the mean squared distance of their vectors, 2 - 2 * mean cosine for unit vectors, and
// neither a rotation nor leaving numbers out makes it larger.
Sketch sketch_of(const Basis& basis, const std::vector<float>& vectors) {
  const auto [queries, width] = basis.shape();
  std::vector<float> mean(static_cast<std::size_t>(width));
  for (std::size_t i = 0; i < vectors.size(); ++i) mean[i % mean.size()] += vectors[i];
  for (float& value : mean) value /= static_cast<float>(queries);
  const std::vector<float> rotated = basis.rotate(mean);
  Sketch sketch{};
  std::copy_n(rotated.begin(), std::min(kSketch, rotated.size()), sketch.begin());
  return sketch;
}

// Sketches of several pictures, number by number, so that they are compared side by side.
constexpr std::size_t kLanes = 16;
using Lanes = std::array<float, kLanes>;
using SketchBlock = std::array<Lanes, kSketch>;

// Adds the squared distances by some of the numbers.
void add_distances(const Sketch& own, const SketchBlock& block, std::size_t begin, std::size_t end,
                   Lanes& sums) {
  for (std::size_t i = begin; i < end; ++i) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float difference = own[i] - block[i][lane];
      sums[lane] += difference * difference;
    }
  }
}

// The blocks of sketches in some order; lanes that are left over are far from everything.
std::vector<SketchBlock> blocks_of(const std::vector<Sketch>& sketches,
                                   const std::vector<std::size_t>& order) {
  SketchBlock empty;
  for (Lanes& lanes : empty) lanes.fill(std::numeric_limits<float>::infinity());
  std::vector<SketchBlock> blocks((order.size() + kLanes - 1) / kLanes, empty);
  for (std::size_t i = 0; i < order.size(); ++i) {
    for (std::size_t k = 0; k < kSketch; ++k) {
      blocks[i / kLanes][k][i % kLanes] = sketches[order[i]][k];
    }
  }
  return blocks;
}

// Where pictures lie in the parts of an index.
struct Place {
  std::size_t part = 0, row = 0;
};

class Join {
 public:
  Join(const PictureIndex& index, const std::vector<std::int64_t>& pictures, float threshold,
       std::size_t threads)
      : index_(index), pictures_(pictures), threshold_(threshold), threads_(threads) {
    parts_ = index.parts();
    find_places();
    sketches_.resize(pictures.size());
    parallel_for(pictures.size(), threads, [&](std::size_t i) {
      sketches_[i] = sketch_of(*parts_.front().basis, index.vectors_of(pictures[i]));
    });
    order_.resize(pictures.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::ranges::sort(order_, {}, [&](std::size_t i) { return std::pair(sketches_[i][0], i); });
    blocks_ = blocks_of(sketches_, order_);
    // Kept vectors are not quite unit vectors, and scores are those of bytes.
    const float slack = 4 * index.largest_error() + 1e-4f;
    reach_ = std::max(0.0f, 2 - 2 * (threshold - slack));
  }

  std::vector<SimilarPair> run(const std::function<void(std::int64_t)>& progress) {
    const std::size_t count = order_.size(), at_once = kBlock * std::max<std::size_t>(1, threads_);
    for (std::size_t begin = 0; begin < count; begin += at_once) {
      const std::size_t end = std::min(begin + at_once, count);
      parallel_for(end - begin, threads_, [&](std::size_t i) { join(begin + i); });
      progress(static_cast<std::int64_t>(end));
    }
    std::ranges::sort(pairs_, {},
                      [](const SimilarPair& p) { return std::pair(p.first, p.second); });
    return std::move(pairs_);
  }

 private:
  void find_places() {
    std::unordered_map<std::int64_t, Place> places;
    for (std::size_t part = 0; part < parts_.size(); ++part) {
      for (std::size_t row = 0; row < parts_[part].pictures(); ++row) {
        places[index_.picture_at(part, row)] = {part, row};
      }
    }
    for (const std::int64_t picture : pictures_) places_.push_back(places.at(picture));
  }

  // Pairs of the picture at a place of the order with those behind it.
  void join(std::size_t at) {
    std::vector<std::size_t> near;
    const Sketch& own = sketches_[order_[at]];
    const float furthest = own[0] + std::sqrt(reach_);
    for (std::size_t b = at / kLanes; b < blocks_.size() && blocks_[b][0][0] <= furthest; ++b) {
      Lanes sums{};
      add_distances(own, blocks_[b], 0, kSketch / 2, sums);
      if (std::ranges::all_of(sums, [&](float sum) { return sum > reach_; })) continue;
      add_distances(own, blocks_[b], kSketch / 2, kSketch, sums);
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        const std::size_t other = b * kLanes + lane;
        if (other > at && sums[lane] <= reach_) near.push_back(order_[other]);
      }
    }
    if (!near.empty()) compare(order_[at], near);
  }

  // Compares a picture in full with others, those of each part together.
  void compare(std::size_t picture, const std::vector<std::size_t>& others) {
    const SearchTerm term{index_.vectors_of(pictures_[picture]), 1};
    std::map<std::size_t, std::vector<std::size_t>> by_part;
    for (const std::size_t other : others) by_part[places_[other].part].push_back(other);
    for (const auto& [part, members] : by_part) {
      const std::vector<float> scores = scores_of(parts_[part], members, term);
      const std::lock_guard lock(mutex_);
      for (std::size_t i = 0; i < members.size(); ++i) {
        if (scores[i] < threshold_) continue;
        pairs_.push_back({std::min(picture, members[i]), std::max(picture, members[i]), scores[i]});
      }
    }
  }

  std::vector<float> scores_of(const CodePart& part, const std::vector<std::size_t>& members,
                               const SearchTerm& term) const {
    const CodeSizes sizes = code_sizes(part.basis->shape());
    std::vector<std::byte> heads, bodies;
    const auto append = [](std::vector<std::byte>& to, std::span<const std::byte> from,
                           std::size_t row, std::size_t size) {
      const auto bytes = from.subspan(row * size, size);
      to.insert(to.end(), bytes.begin(), bytes.end());
    };
    for (const std::size_t member : members) {
      append(heads, part.heads, places_[member].row, sizes.head);
      append(bodies, part.bodies, places_[member].row, sizes.body);
    }
    const std::vector<std::uint64_t> wanted((members.size() + 63) / 64, ~std::uint64_t{0});
    return all_scores({part.basis, heads, bodies, wanted}, std::span(&term, 1), 1);
  }

  const PictureIndex& index_;
  const std::vector<std::int64_t>& pictures_;
  float threshold_, reach_ = 0;
  std::size_t threads_;
  std::vector<CodePart> parts_;
  std::vector<Place> places_;
  std::vector<Sketch> sketches_;     // by picture
  std::vector<std::size_t> order_;   // of the pictures, by the first number of their sketches
  std::vector<SketchBlock> blocks_;  // in that order
  std::mutex mutex_;
  std::vector<SimilarPair> pairs_;
};

}  // namespace

std::vector<SimilarPair> similar_pairs(const PictureIndex& index,
                                       const std::vector<std::int64_t>& pictures, float threshold,
                                       std::size_t threads,
                                       const std::function<void(std::int64_t)>& progress) {
  if (pictures.size() < 2) return {};
  return Join(index, pictures, threshold, threads).run(progress);
}

}  // namespace blip2
