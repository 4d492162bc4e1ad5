#include "blip2/evaluation/char_set_internal.h"

#include <algorithm>
#include <map>
#include <set>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

constexpr unsigned kUnits = 0x10000, kMostClasses = 256;

}  // namespace

CharSet::CharSet(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end());
  for (const Range& range : ranges) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
}

CharSet CharSet::operator|(const CharSet& other) const {
  std::vector<Range> all = ranges_;
  all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
  return CharSet(std::move(all));
}

CharSet CharSet::complement() const {
  std::vector<Range> others;
  unsigned next = 0;
  for (const Range& range : ranges_) {
    if (range.first > next) {
      others.push_back({static_cast<char16_t>(next), static_cast<char16_t>(range.first - 1)});
    }
    next = range.last + 1u;
  }
  if (next < kUnits) others.push_back({static_cast<char16_t>(next), 0xffff});
  return CharSet(std::move(others));
}

CharClasses classify(const std::vector<CharSet>& sets) {
  std::set<unsigned> borders{0, kUnits};
  for (const CharSet& set : sets) {
    for (const auto& range : set.ranges()) borders.insert({range.first, range.last + 1u});
  }
  const std::vector<unsigned> begins(borders.begin(), borders.end());
  std::vector<std::vector<bool>> members(begins.size() - 1, std::vector<bool>(sets.size()));
  for (std::size_t s = 0; s < sets.size(); ++s) {
    for (const auto& range : sets[s].ranges()) {
      auto piece = std::lower_bound(begins.begin(), begins.end(), range.first) - begins.begin();
      for (; begins[piece] <= range.last; ++piece) members[piece][s] = true;
    }
  }
  CharClasses classes;
  classes.of_unit.resize(kUnits);
  classes.contains.resize(sets.size());
  std::map<std::vector<bool>, unsigned> known;
  for (std::size_t piece = 0; piece < members.size(); ++piece) {
    const auto [place, fresh] = known.try_emplace(members[piece], classes.count);
    if (fresh) {
      if (++classes.count > kMostClasses) throw Error("patterns with too many character sets");
      for (std::size_t s = 0; s < sets.size(); ++s)
        classes.contains[s].push_back(members[piece][s]);
    }
    std::fill(classes.of_unit.begin() + begins[piece], classes.of_unit.begin() + begins[piece + 1],
              static_cast<unsigned char>(place->second));
  }
  return classes;
}

}  // namespace blip2
