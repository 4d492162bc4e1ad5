#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// By what the captions of a picture are ranked: the contrast's cosine, the probability that picture
// and text match, or the sum of both; the numbers that `blip2 match` shows.
enum class CaptionRank { itc, itm, sum };

// "itc", "itm" or "sum"; Error for any other name.
CaptionRank caption_rank_of(std::string_view name);

struct RankedCaption {
  std::string text;
  bool original = false;  // as the data had it; otherwise generated
  double score = 0;
};

// The texts to rank, originals first. A text that says the same as one before it is dropped: equal
// but for ASCII case, runs of white space and full stops at the end. So are empty texts.
std::vector<RankedCaption> distinct_captions(std::span<const std::string> originals,
                                             std::span<const std::string> generated);

// The `keep` best by score (0: all) of those with at least `min_score`, best first; of equals the
// one that came first. Error if a score is no number.
std::vector<RankedCaption> best_captions(std::vector<RankedCaption> captions, std::size_t keep,
                                         double min_score);

}  // namespace blip2
