#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// The score by which the captions of a picture are ranked: the contrast's cosine, the probability
// that picture and text match, or the sum of both. `blip2 match` prints the same numbers.
enum class CaptionRank { itc, itm, sum };

// "itc", "itm" or "sum"; Error for any other name.
CaptionRank caption_rank_of(std::string_view name);

struct RankedCaption {
  std::string text;
  bool original = false;  // from the data; false: generated
  double score = 0;
};

// The texts to rank, originals first, without empty texts. A text is dropped if it equals an
// earlier one except for ASCII case, runs of white space and full stops at the end.
std::vector<RankedCaption> distinct_captions(std::span<const std::string> originals,
                                             std::span<const std::string> generated);

// The `keep` best captions (0: all) among the captions with a score of at least `min_score`, best
// first; captions of equal score keep their order. Error if a score is NaN.
std::vector<RankedCaption> best_captions(std::vector<RankedCaption> captions, std::size_t keep,
                                         double min_score);

}  // namespace blip2
