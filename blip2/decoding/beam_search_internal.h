#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/base/random.h"
#include "blip2/decoding/generate.h"
#include "blip2/decoding/options.h"

namespace blip2 {

// Beam search over the continuations of one prompt, step by step as transformers 5 does it
// (generation/utils.py, _beam_search), in f32 like transformers. With options.sample, a step's
// candidates are drawn by their probabilities without replacement.
class BeamSearch {
 public:
  // A beam of the next step: the beam of this step that it continues, and the token added.
  struct Move {
    std::int32_t beam, token;
  };

  BeamSearch(const GenerationOptions& options, std::vector<std::int32_t> prompt_ids);

  // Takes the logits of the running beams, row b for beam b; before the first step all beams are
  // the prompt and one row is enough. Returns the next beams, best first.
  std::vector<Move> advance(std::span<const float> logits, std::int64_t vocabulary);
  bool done() const { return done_; }
  // The options.return_sequences best sequences, best first.
  std::vector<Generated> results() const;

 private:
  struct Hypothesis {
    std::vector<std::int32_t> tokens;
    float score;
    bool finished = false;
  };
  struct Candidate {
    float score, rank;  // the greatest ranks are taken; rank is the score, or a draw by it
    std::int32_t beam, token;

    // Whether it goes before another one; equal ranks keep the order of beams and tokens.
    bool before(const Candidate& other) const;
  };
  class Best;
  std::vector<Candidate> best_candidates(std::span<const float> logits,
                                         std::int64_t vocabulary) const;
  void add_scores(std::size_t beam, std::span<const float> logits, Best& best) const;
  void add_draws(std::size_t beam, std::span<const float> logits, Random& random, Best& best) const;
  std::vector<float> scores_after(std::size_t beam, std::span<const float> logits) const;
  bool ends(const Candidate& candidate) const;
  std::vector<Hypothesis> with_token(std::span<const Candidate> candidates) const;
  void keep_running(std::span<const Candidate> candidates, std::vector<Move>& moves);
  void keep_finished(std::span<const Candidate> candidates);
  bool may_improve() const;

  GenerationOptions options_;
  std::vector<std::int32_t> prompt_ids_;
  std::vector<Hypothesis> running_, finished_;  // `beams` each
  std::int64_t length_ = 0;                     // tokens of each running beam
  bool stop_when_full_, expect_longest_;
  bool improvable_ = true, done_ = false;
};

}  // namespace blip2
