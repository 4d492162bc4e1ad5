#include "blip2/decoding/beam_search_internal.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "blip2/decoding/processors_internal.h"

namespace blip2 {
namespace {

constexpr float never = -1.0e9f;  // the score of what must not be chosen

// Ranking by score + noise of this kind draws by softmax(score) without replacement.
float gumbel(Random& random) {
  return static_cast<float>(-std::log(-std::log(random.uniform() + 0x1p-54)));
}

}  // namespace

BeamSearch::BeamSearch(const GenerationOptions& options, std::int64_t vocabulary,
                       std::vector<std::int32_t> prompt_ids, StopCheck stops)
    : options_(options),
      vocabulary_(static_cast<std::size_t>(vocabulary)),
      prompt_ids_(std::move(prompt_ids)),
      stops_(std::move(stops)),
      stop_when_full_(options.early_stopping == "true"),
      expect_longest_(options.early_stopping == "never" && options.length_penalty > 0) {
  const auto beams = static_cast<std::size_t>(options.beams);
  running_.assign(beams, {{}, never, false, false, {}});  // so that only the first beam starts
  running_[0].score = 0.0f;
  finished_ = running_;
  finished_[0].score = never;
}

bool BeamSearch::Candidate::before(const Candidate& other) const {
  return std::tuple(-rank, beam, token) < std::tuple(-other.rank, other.beam, other.token);
}

// The first `wanted` candidates of those that were added.
class BeamSearch::Best {
 public:
  explicit Best(std::size_t wanted) : wanted_(wanted) {}

  // A rank that is not greater cannot be among them any more, if its beam and token come later.
  float threshold() const {
    return heap_.size() < wanted_ ? -std::numeric_limits<float>::infinity() : heap_.front().rank;
  }
  bool full() const { return heap_.size() == wanted_; }

  void add(const Candidate& candidate) {
    if (full()) {
      if (!candidate.before(heap_.front())) return;
      std::pop_heap(heap_.begin(), heap_.end(), before);
      heap_.pop_back();
    }
    heap_.push_back(candidate);
    std::push_heap(heap_.begin(), heap_.end(), before);
  }

  std::vector<Candidate> sorted() && {
    std::sort_heap(heap_.begin(), heap_.end(), before);
    return std::move(heap_);
  }

 private:
  static bool before(const Candidate& a, const Candidate& b) { return a.before(b); }

  std::size_t wanted_;
  std::vector<Candidate> heap_;  // the last of them at its front
};

// The scores of every token after a beam, were it alone.
std::vector<float> BeamSearch::scores_after(std::size_t beam, std::span<const float> logits) const {
  std::vector<float> scores(logits.begin(), logits.end());
  const float total = log_sum_exp(logits);
  for (float& score : scores) score -= total;
  std::vector<std::int32_t> seen = prompt_ids_;
  seen.insert(seen.end(), running_[beam].tokens.begin(), running_[beam].tokens.end());
  process_scores(scores, seen, length_, options_);
  if (options_.sample) warp_scores(scores, options_);
  return scores;
}

// Adds a beam's continuations. Most tokens are far from the best: a block of them costs one
// comparison of vectors.
void BeamSearch::add_scores(std::size_t beam, std::span<const float> logits, Best& best) const {
  constexpr std::size_t kBlock = 32;
  const std::vector<float> scores = scores_after(beam, logits);
  const float before = running_[beam].score;
  for (std::size_t begin = 0; begin < scores.size(); begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, scores.size());
    const float threshold = best.threshold();
    int above = best.full() ? 0 : 1;
    for (std::size_t i = begin; i < end; ++i) above |= scores[i] + before > threshold ? 1 : 0;
    if (above == 0) continue;
    for (std::size_t i = begin; i < end; ++i) {
      const float score = scores[i] + before;
      best.add({score, score, static_cast<std::int32_t>(beam), static_cast<std::int32_t>(i)});
    }
  }
}

// The same where continuations are drawn.
void BeamSearch::add_draws(std::size_t beam, std::span<const float> logits, Random& random,
                           Best& best) const {
  const std::vector<float> scores = scores_after(beam, logits);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const float score = scores[i] + running_[beam].score;
    const float rank = std::isfinite(score) ? score + gumbel(random) : score;
    best.add({score, rank, static_cast<std::int32_t>(beam), static_cast<std::int32_t>(i)});
  }
}

// The best (or drawn) continuations over all beams; enough of them that `beams` are left when all
// ends among them are taken away. Beams are looked at side by side unless they draw by one random
// sequence.
std::vector<BeamSearch::Candidate> BeamSearch::best_candidates(
    std::span<const float> logits) const {
  const auto ends = static_cast<std::int64_t>(options_.eos_token_ids.size());
  const auto wanted =
      static_cast<std::size_t>(std::max<std::int64_t>(2, 1 + ends) * options_.beams);
  std::vector<Best> each(running_.size(), Best(wanted));
  if (options_.sample) {
    Random random(derive_seed(options_.seed, length_));
    for (std::size_t b = 0; b < each.size(); ++b) add_draws(b, row_of(logits, b), random, each[0]);
    return std::move(each[0]).sorted();
  }
  at::parallel_for(0, std::ssize(each), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto b = static_cast<std::size_t>(begin); b < static_cast<std::size_t>(end); ++b) {
      add_scores(b, row_of(logits, b), each[b]);
    }
  });
  Best best(wanted);
  for (Best& one : each) {
    for (const Candidate& candidate : std::move(one).sorted()) best.add(candidate);
  }
  return std::move(best).sorted();
}

void BeamSearch::complete(Candidate& candidate, std::span<const float> logits) const {
  const auto& ends = options_.eos_token_ids;
  const auto beam = static_cast<std::size_t>(candidate.beam);
  bool complete = std::find(ends.begin(), ends.end(), candidate.token) != ends.end();
  if (!complete && stops_) {
    std::vector<std::int32_t> tokens = running_[beam].tokens;
    tokens.push_back(candidate.token);
    complete = stops_(tokens);
  }
  candidate.cut = !complete && length_ + 1 >= options_.max_new_tokens;
  candidate.ends = complete || candidate.cut;
  if (!options_.log_probabilities) return;
  candidate.chosen =
      chosen_token(row_of(logits, beam), candidate.token, options_.top_log_probabilities);
}

std::vector<BeamSearch::Hypothesis> BeamSearch::with_token(
    std::span<const Candidate> candidates) const {
  std::vector<Hypothesis> extended;
  for (const Candidate& candidate : candidates) {
    Hypothesis next = running_[static_cast<std::size_t>(candidate.beam)];
    next.tokens.push_back(candidate.token);
    next.score = candidate.score;
    next.cut = candidate.cut;
    if (options_.log_probabilities) next.chosen.push_back(candidate.chosen);
    extended.push_back(std::move(next));
  }
  return extended;
}

void BeamSearch::keep_running(std::span<const Candidate> candidates, std::vector<Move>& moves) {
  std::vector<Candidate> left(candidates.begin(), candidates.end());
  for (Candidate& candidate : left) {
    if (candidate.ends) candidate.score += never;
  }
  std::stable_sort(left.begin(), left.end(),
                   [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  left.resize(std::min(left.size(), running_.size()));
  running_ = with_token(left);
  for (const Candidate& candidate : left) {
    moves.push_back({length_ == 0 ? 0 : candidate.beam, candidate.token});
  }
}

void BeamSearch::keep_finished(std::span<const Candidate> candidates) {
  const bool full = stop_when_full_ && std::all_of(finished_.begin(), finished_.end(),
                                                   [](const Hypothesis& h) { return h.finished; });
  const auto divisor =
      static_cast<float>(std::pow(static_cast<double>(length_ + 1), options_.length_penalty));
  std::vector<Hypothesis> merged = std::move(finished_);
  std::vector<Hypothesis> extended = with_token(candidates);
  for (std::size_t i = 0; i < extended.size(); ++i) {
    Hypothesis& next = extended[i];
    next.finished = candidates[i].ends && i < static_cast<std::size_t>(options_.beams);
    next.score /= divisor;
    if (full) next.score += never;
    if (!improvable_) next.score += never;
    if (!next.finished) next.score += never;
    merged.push_back(std::move(next));
  }
  std::stable_sort(merged.begin(), merged.end(),
                   [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  merged.resize(static_cast<std::size_t>(options_.beams));
  finished_ = std::move(merged);
}

// Whether the best running beam could still beat the worst finished one, at its present length or
// at the greatest.
bool BeamSearch::may_improve() const {
  const std::int64_t length = expect_longest_ ? options_.max_new_tokens : length_;
  const auto divisor =
      static_cast<float>(std::pow(static_cast<double>(length), options_.length_penalty));
  const float best = running_.front().score / divisor;
  float worst = finished_.front().score;
  for (const Hypothesis& h : finished_) worst = std::min(worst, h.score);
  return std::any_of(finished_.begin(), finished_.end(),
                     [&](const Hypothesis& h) { return best > (h.finished ? worst : never); });
}

std::vector<Search::Move> BeamSearch::advance(std::span<const float> logits) {
  std::vector<Candidate> candidates = best_candidates(logits);
  for (Candidate& candidate : candidates) complete(candidate, logits);
  const bool stuck = std::all_of(candidates.begin(), candidates.end(),
                                 [](const Candidate& candidate) { return candidate.ends; });
  keep_finished(candidates);
  std::vector<Move> moves;
  keep_running(candidates, moves);
  ++length_;
  improvable_ = improvable_ && may_improve();
  const bool full = std::all_of(finished_.begin(), finished_.end(),
                                [](const Hypothesis& h) { return h.finished; });
  if (!improvable_ || (full && stop_when_full_) || stuck) return {};
  return moves;
}

std::vector<Generated> BeamSearch::results() const {
  std::vector<Generated> best;
  for (std::size_t i = 0; i < static_cast<std::size_t>(options_.return_sequences); ++i) {
    const Hypothesis& one = finished_[i];
    best.push_back({one.tokens, one.score, one.cut, one.chosen});
  }
  return best;
}

}  // namespace blip2
