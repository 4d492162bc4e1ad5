#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "blip2/search/codes.h"

namespace blip2 {

// Pictures whose codes lie one after another.
struct CodePart {
  const Basis* basis = nullptr;
  std::span<const std::byte> heads, bodies;  // [n, code_sizes().head] and [n, code_sizes().body]
  std::span<const std::uint64_t> wanted;     // a bit for each picture; pictures without are skipped

  std::size_t pictures() const;
};

// What is looked for: a text's unit vector [E], whose score is the cosine of a picture's best
// vector; or a picture's unit vectors [Q, E], whose score is the mean over the Q cosines of vectors
// of the same learned query. The scores of terms are multiplied by their weights (negative: what
// shall not be there) and added.
struct SearchTerm {
  std::vector<float> vectors;  // [E] or [Q, E]
  float weight = 1;
};

struct Hit {
  std::size_t part = 0, row = 0;
  float score = 0;                 // the sum over terms
  std::vector<float> term_scores;  // of each term, before its weight
};

enum class ScanWay {
  kPruned,  // bounds from the heads first, then only the bodies that can be among the best
  kFull,    // every body
};

// The `top` pictures of the highest scores, best first; equal scores in the order of part and row.
// Scores are those of the bytes in exact integer arithmetic: both ways give the same hits, bit for
// bit, on every processor and with any number of threads. Fewer hits if there are fewer pictures.
// Error if a term has another shape than the parts. Several threads may call it at once.
std::vector<Hit> best_pictures(std::span<const CodePart> parts, std::span<const SearchTerm> terms,
                               std::size_t top, std::size_t threads,
                               ScanWay way = ScanWay::kPruned);

// Numbers that the scores of pictures with these heads [n] do not exceed: [n]. For bodies that lie
// elsewhere: only those whose numbers reach the best scores found so far need to be fetched.
std::vector<float> score_bounds(const Basis& basis, std::span<const std::byte> heads,
                                std::span<const SearchTerm> terms, std::size_t threads);

// Scores of all pictures of a part, wanted or not, as best_pictures() computes them: [n].
std::vector<float> all_scores(const CodePart& part, std::span<const SearchTerm> terms,
                              std::size_t threads);

}  // namespace blip2
