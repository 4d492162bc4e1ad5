#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <span>
#include <unordered_map>
#include <utility>

#include "blip2/base/parallel.h"
#include "blip2/search/scan.h"
#include "blip2/search/similar_pictures_internal.h"

namespace blip2 {

SimilarPictures::SimilarPictures(const PictureIndex& index, std::vector<std::int64_t> pictures,
                                 std::size_t threads)
    : index_(index), pictures_(std::move(pictures)), parts_(index.parts()) {
  if (pictures_.empty()) return;
  find_rows();
  sketches_.resize(pictures_.size());
  squares_.resize(pictures_.size());
  const auto queries = static_cast<float>(index.identity().shape.queries);
  parallel_for(pictures_.size(), threads, [&](std::size_t i) {
    const std::vector<float> vectors = index_.vectors_of(pictures_[i]);
    sketches_[i] = sketch_of(*parts_.front().basis, vectors);
    squares_[i] =
        std::inner_product(vectors.begin(), vectors.end(), vectors.begin(), 0.0f) / queries;
  });
  largest_square_ = *std::ranges::max_element(squares_);
  fill_blocks();
}

void SimilarPictures::find_rows() {
  std::unordered_map<std::int64_t, Row> rows;
  for (std::size_t part = 0; part < parts_.size(); ++part) {
    for (std::size_t row = 0; row < parts_[part].pictures(); ++row) {
      rows[index_.picture_at(part, row)] = {part, row};
    }
  }
  for (const std::int64_t picture : pictures_) rows_.push_back(rows.at(picture));
}

SimilarPictures::Sketch SimilarPictures::sketch_of(const Basis& basis,
                                                   const std::vector<float>& vectors) {
  const auto [queries, width] = basis.shape();
  std::vector<float> mean(static_cast<std::size_t>(width));
  for (std::size_t i = 0; i < vectors.size(); ++i) mean[i % mean.size()] += vectors[i];
  for (float& value : mean) value /= static_cast<float>(queries);
  const std::vector<float> rotated = basis.rotate(mean);
  Sketch sketch{};
  std::copy_n(rotated.begin(), std::min(kNumbers, rotated.size()), sketch.begin());
  return sketch;
}

void SimilarPictures::fill_blocks() {
  order_.resize(pictures_.size());
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  std::ranges::sort(order_, {}, [&](std::size_t i) { return std::pair(sketches_[i][0], i); });
  Block far;  // lanes that are left over
  for (Lanes& lanes : far) lanes.fill(std::numeric_limits<float>::infinity());
  blocks_.resize((order_.size() + kLanes - 1) / kLanes, far);
  for (std::size_t i = 0; i < order_.size(); ++i) {
    for (std::size_t k = 0; k < kNumbers; ++k) {
      blocks_[i / kLanes][k][i % kLanes] = sketches_[order_[i]][k];
    }
  }
}

void SimilarPictures::add_distances(const Sketch& own, const Block& block, std::size_t begin,
                                    std::size_t end, Lanes& sums) {
  for (std::size_t i = begin; i < end; ++i) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float difference = own[i] - block[i][lane];
      sums[lane] += difference * difference;
    }
  }
}

// The places whose sketches are no further away than the root of `reach`.
std::vector<std::size_t> SimilarPictures::near_sketches(const Sketch& own, float reach) const {
  const float nearest = own[0] - std::sqrt(reach), furthest = own[0] + std::sqrt(reach);
  // The first block whose last number can be near enough: the one before the first that begins so.
  const auto begins = std::ranges::lower_bound(blocks_, nearest, {},
                                               [](const Block& block) { return block[0][0]; });
  std::vector<std::size_t> places;
  for (auto block = begins == blocks_.begin() ? begins : begins - 1;
       block != blocks_.end() && (*block)[0][0] <= furthest; ++block) {
    Lanes sums{};
    add_distances(own, *block, 0, kNumbers / 2, sums);
    if (std::ranges::all_of(sums, [&](float sum) { return sum > reach; })) continue;
    add_distances(own, *block, kNumbers / 2, kNumbers, sums);
    const auto first = static_cast<std::size_t>(block - blocks_.begin()) * kLanes;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      if (sums[lane] <= reach) places.push_back(order_[first + lane]);
    }
  }
  return places;
}

std::vector<std::size_t> SimilarPictures::like(std::size_t place, float threshold,
                                               const std::function<bool(std::size_t)>& may) const {
  constexpr float kRounding = 0.004f;  // of scores, twice, and of sketches
  const float reach = std::max(0.0f, squares_[place] + largest_square_ - 2 * threshold + kRounding);
  std::map<std::size_t, std::vector<std::size_t>> by_part;
  for (const std::size_t other : near_sketches(sketches_[place], reach)) {
    if (other != place && may(other)) by_part[rows_[other].part].push_back(other);
  }
  std::vector<std::size_t> found;
  if (by_part.empty()) return found;
  const SearchTerm term{index_.vectors_of(pictures_[place]), 1};
  for (const auto& [part, places] : by_part) {
    const std::vector<float> scores = scores_of(part, places, term);
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (scores[i] >= threshold) found.push_back(places[i]);
    }
  }
  std::ranges::sort(found);
  return found;
}

// The scores of some pictures of a part, whose codes are laid one after another.
std::vector<float> SimilarPictures::scores_of(std::size_t part,
                                              const std::vector<std::size_t>& places,
                                              const SearchTerm& term) const {
  const CodePart& all = parts_[part];
  const CodeSizes sizes = code_sizes(all.basis->shape());
  std::vector<std::byte> heads, bodies;
  const auto append = [](std::vector<std::byte>& to, std::span<const std::byte> from,
                         std::size_t row, std::size_t size) {
    const auto bytes = from.subspan(row * size, size);
    to.insert(to.end(), bytes.begin(), bytes.end());
  };
  for (const std::size_t place : places) {
    append(heads, all.heads, rows_[place].row, sizes.head);
    append(bodies, all.bodies, rows_[place].row, sizes.body);
  }
  const std::vector<std::uint64_t> wanted((places.size() + 63) / 64, ~std::uint64_t{0});
  return all_scores({all.basis, heads, bodies, wanted}, std::span(&term, 1), 1);
}

}  // namespace blip2
