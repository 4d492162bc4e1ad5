#include "blip2/search/duplicates.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

#include "blip2/image/look.h"
#include "blip2/search/similar_pairs_internal.h"

namespace blip2 {
namespace {

// A picture with its files, the best one first.
struct Candidate {
  std::int64_t picture = 0;
  PictureFacts facts;
  std::vector<FileFacts> files;

  std::int64_t pixels() const { return facts.width * facts.height; }
};

auto rank_of(const FileFacts& file) {
  return std::tuple(~file.bytes, file.modified, std::string_view(file.path));
}

bool is_better(const Candidate& a, const Candidate& b) {
  if (a.pixels() != b.pixels()) return a.pixels() > b.pixels();
  return rank_of(a.files.front()) < rank_of(b.files.front());
}

// All pictures, the best one first.
std::vector<Candidate> candidates_of(const PictureIndex& index) {
  constexpr std::int64_t kPage = 10'000;
  std::map<std::int64_t, std::vector<FileFacts>> files;
  for (std::int64_t first = 0; first < index.files(); first += kPage) {
    for (FileFacts& file : index.list_files(/*bad=*/false, first, kPage)) {
      files[file.picture.value()].push_back(std::move(file));
    }
  }
  std::vector<Candidate> candidates;
  for (auto& [picture, own] : files) {
    std::ranges::sort(own, {}, rank_of);
    candidates.push_back({picture, index.facts(picture), std::move(own)});
  }
  std::ranges::sort(candidates, is_better);
  return candidates;
}

// Whether two pictures can be one in two sizes: the larger one scaled to the other's width has its
// height, give or take the rounding and two percent.
bool same_shape(const PictureFacts& a, const PictureFacts& b) {
  constexpr double kShare = 0.02;
  const double first = static_cast<double>(a.width) * static_cast<double>(b.height),
               second = static_cast<double>(b.width) * static_cast<double>(a.height);
  const double rounding = static_cast<double>(std::max({a.width, a.height, b.width, b.height}));
  return std::abs(first - second) <= kShare * std::max(first, second) + rounding;
}

// Whether two pictures look the same from far, as one does before and after it is compressed.
bool same_look(const PictureFacts& a, const PictureFacts& b) {
  constexpr int kMostDifference = 24;
  return look_distance(a.look, b.look) <= kMostDifference;
}

// The neighbours of each picture, all among `candidates`.
using Neighbours = std::vector<std::vector<std::size_t>>;

Neighbours neighbours_of(std::size_t pictures, const std::vector<SimilarPair>& pairs) {
  Neighbours neighbours(pictures);
  for (const SimilarPair& pair : pairs) {
    neighbours[pair.first].push_back(pair.second);
    neighbours[pair.second].push_back(pair.first);
  }
  return neighbours;
}

// Each picture's group, named by its best picture: the best picture that is left takes all its
// neighbours that are left.
std::vector<std::size_t> star_groups(const Neighbours& neighbours) {
  constexpr auto kNone = static_cast<std::size_t>(-1);
  std::vector<std::size_t> group(neighbours.size(), kNone);
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (group[i] != kNone) continue;
    group[i] = i;
    for (const std::size_t other : neighbours[i]) {
      if (group[other] == kNone) group[other] = i;
    }
  }
  return group;
}

// Finds the groups of one index.
class Finder {
 public:
  Finder(const PictureIndex& index, const DuplicateOptions& options)
      : options_(options), candidates_(candidates_of(index)) {
    near_.resize(candidates_.size());
    for (std::size_t i = 0; i < near_.size(); ++i) near_[i] = i;
    if (!options.near && !options.alike) return;
    std::vector<std::int64_t> pictures;
    for (const Candidate& one : candidates_) pictures.push_back(one.picture);
    const float least = std::min(options.near.value_or(2), options.alike.value_or(2));
    pairs_ = similar_pairs(index, pictures, least, options.threads, options.progress);
  }

  std::vector<DuplicateGroup> groups() {
    std::vector<DuplicateGroup> groups;
    if (options_.exact) add_exact(groups);
    if (options_.near) near_ = star_groups(near_neighbours());
    if (options_.near) add(near_, DuplicateKind::near, groups);
    if (options_.alike) add(alike_groups(), DuplicateKind::alike, groups);
    return groups;
  }

 private:
  void add_exact(std::vector<DuplicateGroup>& groups) const {
    std::vector<std::size_t> each(candidates_.size());
    for (std::size_t i = 0; i < each.size(); ++i) each[i] = i;
    add(each, DuplicateKind::exact, groups);
  }

  Neighbours near_neighbours() const {
    std::vector<SimilarPair> pairs;
    for (const SimilarPair& pair : pairs_) {
      const PictureFacts &first = candidates_[pair.first].facts,
                         &second = candidates_[pair.second].facts;
      const bool near = pair.score >= *options_.near && same_shape(first, second);
      if (near && same_look(first, second)) pairs.push_back(pair);
    }
    return neighbours_of(candidates_.size(), pairs);
  }

  // The groups of the near groups' best pictures; their other pictures go with them.
  std::vector<std::size_t> alike_groups() const {
    std::vector<SimilarPair> pairs;
    for (const SimilarPair& pair : pairs_) {
      const bool both_best = near_[pair.first] == pair.first && near_[pair.second] == pair.second;
      if (both_best && pair.score >= *options_.alike) pairs.push_back(pair);
    }
    const std::vector<std::size_t> best = star_groups(neighbours_of(candidates_.size(), pairs));
    std::vector<std::size_t> groups(near_.size());
    for (std::size_t i = 0; i < near_.size(); ++i) groups[i] = best[near_[i]];
    return groups;
  }

  // Adds the groups of several files; of alike ones those of several near groups.
  void add(const std::vector<std::size_t>& group_of, DuplicateKind kind,
           std::vector<DuplicateGroup>& groups) const {
    std::map<std::size_t, std::vector<std::size_t>> members;  // the best one first
    for (std::size_t i = 0; i < group_of.size(); ++i) members[group_of[i]].push_back(i);
    std::vector<DuplicateGroup> own;
    for (const auto& [best, pictures] : members) {
      const bool new_here =
          kind == DuplicateKind::exact || std::ranges::any_of(pictures, [&](std::size_t i) {
            return (kind == DuplicateKind::near ? i : near_[i]) != best;
          });
      DuplicateGroup group{kind, {}};
      for (const std::size_t i : pictures) {
        for (const FileFacts& file : candidates_[i].files) group.paths.push_back(file.path);
      }
      if (new_here && group.paths.size() > 1) own.push_back(std::move(group));
    }
    std::ranges::sort(own, {}, [](const DuplicateGroup& g) { return g.paths.front(); });
    std::ranges::move(own, std::back_inserter(groups));
  }

  DuplicateOptions options_;
  std::vector<Candidate> candidates_;
  std::vector<SimilarPair> pairs_;
  std::vector<std::size_t> near_;  // the best picture of each one's near group
};

}  // namespace

const char* name_of(DuplicateKind kind) {
  constexpr const char* kNames[] = {"exact", "near", "alike"};
  return kNames[static_cast<int>(kind)];
}

std::vector<DuplicateGroup> find_duplicates(const PictureIndex& index,
                                            const DuplicateOptions& options) {
  return Finder(index, options).groups();
}

}  // namespace blip2
