#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "blip2/decoding/options.h"

namespace blip2 {

// A token and its log-probability in nats by the logits as the model gave them.
struct TokenLog {
  std::int32_t token = 0;
  double log_probability = 0;
};
struct ChosenToken : TokenLog {
  std::vector<TokenLog> top;  // the most probable ones, best first
};

struct Generated {
  std::vector<std::int32_t> tokens;  // new ones only, the end token included if there is one
  // Beam search: transformers' sequences_scores. Otherwise the sum of the tokens'
  // log-probabilities, divided by length ^ length_penalty as well.
  double score = 0.0;
  bool cut = false;                 // max_new_tokens ended it, and nothing else
  std::vector<ChosenToken> chosen;  // of every token, if options.log_probabilities
};

// Whether a text of these new tokens has a stop string, which ends it. May run on several threads
// at once.
using StopCheck = std::function<bool(std::span<const std::int32_t> tokens)>;

// The answers to one prompt while they are written, step by step: greedy, sampled or by beams. It
// decides by the logits that it is given, its options and its seed alone. For one thread at a time.
class Search {
 public:
  // A row of the next step: the row of this step that it continues, and the token added.
  struct Move {
    std::int32_t row, token;
  };

  virtual ~Search() = default;

  // Takes the logits [rows, vocabulary] after the rows: one row, the prompt, at first, then those
  // of the last moves. Returns the rows of the next step; none: all answers have ended.
  virtual std::vector<Move> advance(std::span<const float> logits) = 0;

  // The answers, best first where beams wrote them; whole once all have ended.
  virtual std::vector<Generated> results() const = 0;

  // The answers so far, if what is written stays; none with beams, which change all of a text. The
  // spans are valid until the next step.
  struct Written {
    std::span<const std::int32_t> tokens;
    std::span<const ChosenToken> chosen;
    bool ended = false;
  };
  virtual std::vector<Written> written() const = 0;
};

// `seen`: tokens of the prompt that the repetition penalty counts. `stops` may be empty. Error if
// an option is out of range, or contradicts another one or the vocabulary.
std::unique_ptr<Search> make_search(const GenerationOptions& options, std::int64_t vocabulary,
                                    std::vector<std::int32_t> seen, StopCheck stops = {});

// The log-probabilities of a token and of the `top` most probable ones; equal ones in the order of
// their ids.
ChosenToken chosen_token(std::span<const float> logits, std::int32_t token, std::int64_t top);

}  // namespace blip2
