#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/base/random.h"
#include "blip2/decoding/search.h"

namespace blip2 {

// Beam search over the continuations of one prompt, step by step as transformers 5 does it
// (generation/utils.py, _beam_search), in f32 like transformers. With options.sample, a step's
// candidates are drawn by their probabilities without replacement.
class BeamSearch : public Search {
 public:
  BeamSearch(const GenerationOptions& options, std::int64_t vocabulary,
             std::vector<std::int32_t> prompt_ids, StopCheck stops);

  // The moves are the next beams, best first.
  std::vector<Move> advance(std::span<const float> logits) override;
  // The options.return_sequences best sequences, best first.
  std::vector<Generated> results() const override;
  std::vector<Written> written() const override { return {}; }

 private:
  struct Hypothesis {
    std::vector<std::int32_t> tokens;
    float score;
    bool finished = false, cut = false;
    std::vector<ChosenToken> chosen;
  };
  struct Candidate {
    float score, rank;  // the greatest ranks are taken; rank is the score, or a draw by it
    std::int32_t beam, token;
    bool ends = false, cut = false;
    ChosenToken chosen = {};  // if log-probabilities are wanted

    // Whether it goes before another one; equal ranks keep the order of beams and tokens.
    bool before(const Candidate& other) const;
  };
  class Best;
  std::vector<Candidate> best_candidates(std::span<const float> logits) const;
  // The logits after a beam; before the first step all beams are the prompt.
  std::span<const float> row_of(std::span<const float> logits, std::size_t beam) const {
    return logits.subspan(length_ == 0 ? 0 : beam * vocabulary_, vocabulary_);
  }
  void add_scores(std::size_t beam, std::span<const float> logits, Best& best) const;
  void add_draws(std::size_t beam, std::span<const float> logits, Random& random, Best& best) const;
  std::vector<float> scores_after(std::size_t beam, std::span<const float> logits) const;
  // Says of a candidate whether it ends its text, and adds its log-probabilities.
  void complete(Candidate& candidate, std::span<const float> logits) const;
  std::vector<Hypothesis> with_token(std::span<const Candidate> candidates) const;
  void keep_running(std::span<const Candidate> candidates, std::vector<Move>& moves);
  void keep_finished(std::span<const Candidate> candidates);
  bool may_improve() const;

  GenerationOptions options_;
  std::size_t vocabulary_;
  std::vector<std::int32_t> prompt_ids_;
  StopCheck stops_;
  std::vector<Hypothesis> running_, finished_;  // `beams` each
  std::int64_t length_ = 0;                     // tokens of each running beam
  bool stop_when_full_, expect_longest_;
  bool improvable_ = true;
};

}  // namespace blip2
