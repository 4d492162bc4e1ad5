#include "blip2/evaluation/meteor_alignment_internal.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <utility>

namespace blip2 {
namespace {

constexpr std::size_t kBeam = 40;
constexpr int kNoMatch = -1;

using Numbers = std::span<const std::uint32_t>;

struct Match {
  int stage;
  int start, length;              // in the reference
  int other_start, other_length;  // in the candidate
  // What the search counts: a whole match of words that are the same, half of any other.
  int weight() const { return stage == 0 ? length : length / 2; }
  int other_weight() const { return stage == 0 ? other_length : other_length / 2; }
};

// A part of an alignment: the reference up to some word.
struct Path {
  std::vector<int> matches;            // [reference word]: the match that starts there
  std::vector<bool> used, other_used;  // words of the reference and of the candidate
  int covered = 0, chunks = 0, distance = 0;
  int next = 0;              // the first word behind the last match
  int other_end = kNoMatch;  // where that match ends in the candidate

  bool is_better(const Path& than) const {
    if (covered != than.covered) return covered > than.covered;
    if (chunks != than.chunks) return chunks < than.chunks;
    return distance < than.distance;
  }
  bool is_free(const Match& match) const {
    for (int i = 0; i < match.length; ++i) {
      if (used[match.start + i]) return false;
    }
    for (int i = 0; i < match.other_length; ++i) {
      if (other_used[match.other_start + i]) return false;
    }
    return true;
  }
  void use(const Match& match, int number) {
    matches[match.start] = number;
    for (int i = 0; i < match.length; ++i) used[match.start + i] = true;
    for (int i = 0; i < match.other_length; ++i) other_used[match.other_start + i] = true;
  }
  void go_through(const Match& match) {
    covered += match.weight() + match.other_weight();
    if (other_end != kNoMatch && match.other_start != other_end) ++chunks;
    next = match.start + match.length;
    other_end = match.other_start + match.other_length;
  }
  void close_chunk() {
    if (other_end != kNoMatch) ++chunks;
    other_end = kNoMatch;
  }
};

class Aligner {
 public:
  Aligner(Numbers candidate, Numbers reference, std::span<const MeteorWord> words,
          const MeteorParaphrases& paraphrases)
      : candidate_(candidate),
        reference_(reference),
        words_(words),
        paraphrases_(paraphrases),
        starting_(reference.size()),
        covered_(reference.size()),
        other_covered_(candidate.size()) {}

  MeteorCounts run() {
    find_matches();
    return count(search(certain_matches()));
  }

 private:
  int reference_size() const { return static_cast<int>(reference_.size()); }

  void add(Match match) {
    starting_[match.start].push_back(static_cast<int>(matches_.size()));
    matches_.push_back(match);
    for (int i = 0; i < match.length; ++i) ++covered_[match.start + i];
    for (int i = 0; i < match.other_length; ++i) ++other_covered_[match.other_start + i];
  }

  template <typename Same>
  void match_words(int stage, const Same& same) {
    for (int j = 0; j < reference_size(); ++j) {
      for (int i = 0; i < static_cast<int>(candidate_.size()); ++i) {
        const MeteorWord &a = words_[candidate_[i]], &b = words_[reference_[j]];
        if (same(a, b)) add({stage, j, 1, i, 1});
      }
    }
  }

  void find_matches() {
    const auto same_key = [](const MeteorWord& a, const MeteorWord& b) { return a.key == b.key; };
    match_words(0, same_key);
    const bool identical =
        std::equal(candidate_.begin(), candidate_.end(), reference_.begin(), reference_.end(),
                   [&](auto a, auto b) { return words_[a].key == words_[b].key; });
    if (identical) return;
    match_words(1, [](const MeteorWord& a, const MeteorWord& b) {
      return a.stem == b.stem && a.key != b.key;
    });
    match_words(2, [](const MeteorWord& a, const MeteorWord& b) {
      return a.key != b.key && share(a.synonyms, b.synonyms);
    });
    match_paraphrases();
  }

  // Whether two sorted lists share an entry.
  static bool share(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b) {
    for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
      if (a[i] == b[j]) return true;
      a[i] < b[j] ? ++i : ++j;
    }
    return false;
  }

  // Calls found(place) where `phrase` stands in `text`.
  template <typename Found>
  static void each_place(Numbers text, Numbers phrase, const Found& found) {
    for (std::size_t at = 0; at + phrase.size() <= text.size(); ++at) {
      if (std::equal(phrase.begin(), phrase.end(),
                     text.begin() + static_cast<std::ptrdiff_t>(at))) {
        found(static_cast<int>(at));
      }
    }
  }

  void match_paraphrases() {
    for (int j = 0; j < reference_size(); ++j) {
      paraphrases_.each(reference_.subspan(j), [&](std::size_t length, Numbers phrase) {
        each_place(candidate_, phrase, [&](int i) {
          add({3, j, static_cast<int>(length), i, static_cast<int>(phrase.size())});
        });
      });
    }
    for (int i = 0; i < static_cast<int>(candidate_.size()); ++i) {
      paraphrases_.each(candidate_.subspan(i), [&](std::size_t length, Numbers phrase) {
        each_place(reference_, phrase, [&](int j) {
          add({3, j, static_cast<int>(phrase.size()), i, static_cast<int>(length)});
        });
      });
    }
  }

  // Matches of words that nothing else matches.
  Path certain_matches() const {
    Path path{std::vector<int>(reference_.size(), kNoMatch), std::vector<bool>(reference_.size()),
              std::vector<bool>(candidate_.size())};
    for (const auto& starting : starting_) {
      if (starting.size() != 1) continue;
      const Match& match = matches_[starting[0]];
      bool alone = true;
      for (int i = 0; i < match.length; ++i) alone &= covered_[match.start + i] == 1;
      for (int i = 0; i < match.other_length; ++i) {
        alone &= other_covered_[match.other_start + i] == 1;
      }
      if (alone) path.use(match, starting[0]);
    }
    return path;
  }

  // What a path becomes with the reference's next word, appended to `out`; the path stays as it is
  // if there is no way on.
  void extend(Path& path, int word, std::vector<Path>& out) const {
    if (path.used[word]) {
      if (word < path.next) {
        out.push_back(std::move(path));
      } else if (path.matches[path.next] != kNoMatch) {
        const Match& match = matches_[path.matches[path.next]];
        path.go_through(match);
        path.distance += std::abs(match.start - match.other_start);
        out.push_back(std::move(path));
      }
      return;
    }
    for (const int number : starting_[word]) {
      const Match& match = matches_[number];
      if (!path.is_free(match)) continue;
      out.push_back(path);
      out.back().use(match, number);
      out.back().go_through(match);
      // As METEOR has it: the distance counts for the alternatives that come after.
      path.distance += std::abs(match.start - match.other_start);
    }
    path.close_chunk();
    ++path.next;
    out.push_back(std::move(path));
  }

  static void sort_paths(std::vector<Path>& paths) {
    if (paths.size() < 2) return;
    std::stable_sort(paths.begin(), paths.end(),
                     [](const Path& a, const Path& b) { return a.is_better(b); });
  }

  Path search(Path start) const {
    std::vector<Path> paths, next{std::move(start)};
    for (int word = 0; word < reference_size(); ++word) {
      paths.swap(next);
      next.clear();
      sort_paths(paths);
      paths.resize(std::min(paths.size(), kBeam), Path{});
      for (Path& path : paths) extend(path, word, next);
      if (next.empty()) next.push_back(std::move(paths[0]));
    }
    sort_paths(next);
    next.resize(std::min(next.size(), kBeam), Path{});
    for (Path& path : next) path.close_chunk();
    sort_paths(next);
    return std::move(next[0]);
  }

  MeteorCounts count(const Path& path) const {
    MeteorCounts counts;
    counts.candidate = static_cast<double>(candidate_.size());
    counts.reference = static_cast<double>(reference_.size());
    for (const std::uint32_t word : candidate_) counts.candidate_function += words_[word].function;
    for (const std::uint32_t word : reference_) counts.reference_function += words_[word].function;
    for (const int number : path.matches) {
      if (number == kNoMatch) continue;
      const Match& match = matches_[number];
      MeteorCounts::Stage& stage = counts.stages[match.stage];
      for (int i = 0; i < match.other_length; ++i) {
        const bool function = words_[candidate_[match.other_start + i]].function;
        ++(function ? stage.candidate_function : stage.candidate);
      }
      for (int i = 0; i < match.length; ++i) {
        const bool function = words_[reference_[match.start + i]].function;
        ++(function ? stage.reference_function : stage.reference);
      }
    }
    counts.chunks = chunks_of(path);
    return counts;
  }

  double chunks_of(const Path& path) const {
    Path walk;
    while (walk.next < reference_size()) {
      const int number = path.matches[walk.next];
      if (number == kNoMatch) {
        walk.close_chunk();
        ++walk.next;
      } else {
        walk.go_through(matches_[number]);
      }
    }
    walk.close_chunk();
    return walk.chunks;
  }

  Numbers candidate_, reference_;
  std::span<const MeteorWord> words_;
  const MeteorParaphrases& paraphrases_;
  std::vector<Match> matches_;
  std::vector<std::vector<int>> starting_;    // [reference word]: numbers of matches
  std::vector<int> covered_, other_covered_;  // [word]: how many matches cover it
};

}  // namespace

MeteorCounts& MeteorCounts::operator+=(const MeteorCounts& other) {
  candidate += other.candidate;
  reference += other.reference;
  candidate_function += other.candidate_function;
  reference_function += other.reference_function;
  for (std::size_t i = 0; i < kMeteorStages; ++i) {
    stages[i].candidate += other.stages[i].candidate;
    stages[i].reference += other.stages[i].reference;
    stages[i].candidate_function += other.stages[i].candidate_function;
    stages[i].reference_function += other.stages[i].reference_function;
  }
  chunks += other.chunks;
  return *this;
}

MeteorCounts align_meteor(std::span<const std::uint32_t> candidate,
                          std::span<const std::uint32_t> reference,
                          std::span<const MeteorWord> words, const MeteorParaphrases& paraphrases) {
  return Aligner(candidate, reference, words, paraphrases).run();
}

}  // namespace blip2
