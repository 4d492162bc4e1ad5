#include "blip2/search/duplicates.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

#include "blip2/base/parallel.h"
#include "blip2/image/look.h"
#include "blip2/search/similar_pictures_internal.h"

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

// Each picture's group, named by its best picture: the best picture that is left takes all those
// that are left and like it. like(i, may) gives these; it runs on several threads at once, for more
// and more pictures, as those that are first may take very many.
using LikeOnes =
    std::function<std::vector<std::size_t>(std::size_t, const std::function<bool(std::size_t)>&)>;

std::vector<std::size_t> star_groups(std::size_t pictures, std::int64_t compared,
                                     const DuplicateOptions& options, const LikeOnes& like) {
  constexpr auto kNone = static_cast<std::size_t>(-1);
  const std::size_t most_at_once = 128 * std::max<std::size_t>(1, options.threads);
  std::vector<std::size_t> group(pictures, kNone);
  std::size_t at_once = 1;
  for (std::size_t begin = 0; begin < pictures;
       begin += std::exchange(at_once, std::min(2 * at_once, most_at_once))) {
    const std::size_t end = std::min(begin + at_once, pictures);
    std::vector<std::vector<std::size_t>> found(end - begin);
    parallel_for(end - begin, options.threads, [&](std::size_t k) {
      const std::size_t i = begin + k;
      if (group[i] != kNone) return;
      found[k] = like(i, [&](std::size_t other) { return other > i && group[other] == kNone; });
    });
    for (std::size_t i = begin; i < end; ++i) {
      if (group[i] != kNone) continue;
      group[i] = i;
      for (const std::size_t other : found[i - begin]) {
        if (group[other] == kNone) group[other] = i;
      }
    }
    options.progress(compared + static_cast<std::int64_t>(end));
  }
  return group;
}

// Finds the groups of one index.
class Finder {
 public:
  Finder(const PictureIndex& index, const DuplicateOptions& options)
      : options_(options), candidates_(candidates_of(index)), near_(candidates_.size()) {
    std::iota(near_.begin(), near_.end(), std::size_t{0});
    if (!options.near && !options.alike) return;
    std::vector<std::int64_t> pictures;
    for (const Candidate& one : candidates_) pictures.push_back(one.picture);
    similar_.emplace(index, std::move(pictures), options.threads);
  }

  std::vector<DuplicateGroup> groups() {
    std::vector<DuplicateGroup> groups;
    if (options_.exact) add(near_, DuplicateKind::exact, groups);  // each by itself so far
    if (options_.near) near_ = near_groups();
    if (options_.near) add(near_, DuplicateKind::near, groups);
    if (options_.alike) add(alike_groups(), DuplicateKind::alike, groups);
    return groups;
  }

 private:
  std::vector<std::size_t> near_groups() const {
    return star_groups(candidates_.size(), 0, options_, [&](std::size_t i, const auto& may) {
      const PictureFacts& own = candidates_[i].facts;
      return similar_->like(i, *options_.near, [&](std::size_t other) {
        const PictureFacts& facts = candidates_[other].facts;
        return may(other) && same_shape(own, facts) && same_look(own.look, facts.look);
      });
    });
  }

  // The groups of the near groups' best pictures; their other pictures go with them.
  std::vector<std::size_t> alike_groups() const {
    const auto is_best = [&](std::size_t i) { return near_[i] == i; };
    const std::int64_t compared = options_.near ? std::ssize(candidates_) : 0;
    const auto best =
        star_groups(candidates_.size(), compared, options_, [&](std::size_t i, const auto& may) {
          if (!is_best(i)) return std::vector<std::size_t>{};
          return similar_->like(i, *options_.alike,
                                [&](std::size_t other) { return may(other) && is_best(other); });
        });
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
  std::vector<std::size_t> near_;  // the best picture of each one's near group
  std::optional<SimilarPictures> similar_;
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
