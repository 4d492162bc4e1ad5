#include "blip2/decoding/token_search_internal.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "blip2/base/random.h"
#include "blip2/decoding/processors_internal.h"

namespace blip2 {
namespace {

std::int32_t draw(std::span<float> scores, std::uint64_t seed, const GenerationOptions& options) {
  warp_scores(scores, options);
  Random random(seed);
  const float total = log_sum_exp(scores);
  double left = random.uniform();
  std::size_t last = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double probability = std::exp(scores[i] - total);
    if (probability <= 0.0) continue;
    last = i;
    left -= probability;
    if (left < 0.0) break;
  }
  return static_cast<std::int32_t>(last);
}

}  // namespace

TokenSearch::TokenSearch(const GenerationOptions& options, std::int64_t vocabulary,
                         const std::vector<std::int32_t>& seen, StopCheck stops)
    : options_(options),
      vocabulary_(static_cast<std::size_t>(vocabulary)),
      stops_(std::move(stops)) {
  for (std::int64_t i = 0; i < options.return_sequences; ++i) {
    sequences_.push_back({derive_seed(options.seed, i), seen, {}, {}});
  }
}

std::int32_t TokenSearch::choose(const Sequence& sequence, std::span<const float> logits) const {
  std::vector<float> scores(logits.begin(), logits.end());
  process_scores(scores, sequence.seen, std::ssize(sequence.tokens), options_);
  if (options_.sample) {
    return draw(scores, derive_seed(sequence.seed, sequence.tokens.size()), options_);
  }
  return static_cast<std::int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

void TokenSearch::extend(Sequence& sequence, std::span<const float> logits) const {
  const std::int32_t token = choose(sequence, logits);
  sequence.log_probability += logits[static_cast<std::size_t>(token)] - log_sum_exp(logits);
  sequence.tokens.push_back(token);
  sequence.seen.push_back(token);
  if (options_.log_probabilities) {
    sequence.chosen.push_back(chosen_token(logits, token, options_.top_log_probabilities));
  }
  const auto& ends = options_.eos_token_ids;
  const bool complete = std::find(ends.begin(), ends.end(), token) != ends.end() ||
                        (stops_ && stops_(sequence.tokens));
  sequence.cut = !complete && std::ssize(sequence.tokens) >= options_.max_new_tokens;
  sequence.ended = complete || sequence.cut;
}

std::vector<Search::Move> TokenSearch::advance(std::span<const float> logits) {
  std::vector<Move> moves;
  for (Sequence& sequence : sequences_) {
    if (sequence.ended) continue;
    const auto row = static_cast<std::size_t>(sequence.row);
    extend(sequence, logits.subspan(row * vocabulary_, vocabulary_));
    if (sequence.ended) continue;
    moves.push_back({std::exchange(sequence.row, static_cast<std::int32_t>(moves.size())),
                     sequence.tokens.back()});
  }
  return moves;
}

std::vector<Generated> TokenSearch::results() const {
  std::vector<Generated> all;
  for (const Sequence& sequence : sequences_) {
    const auto length = static_cast<double>(sequence.tokens.size());
    all.push_back({sequence.tokens,
                   sequence.log_probability / std::pow(length, options_.length_penalty),
                   sequence.cut, sequence.chosen});
  }
  return all;
}

std::vector<Search::Written> TokenSearch::written() const {
  std::vector<Written> all;
  for (const Sequence& sequence : sequences_) {
    all.push_back({sequence.tokens, sequence.chosen, sequence.ended});
  }
  return all;
}

}  // namespace blip2
