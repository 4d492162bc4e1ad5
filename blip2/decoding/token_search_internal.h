#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/decoding/search.h"

namespace blip2 {

// Greedy search, or options.return_sequences samples of one prompt, each by a seed of its own.
class TokenSearch : public Search {
 public:
  TokenSearch(const GenerationOptions& options, std::int64_t vocabulary,
              const std::vector<std::int32_t>& seen, StopCheck stops);

  std::vector<Move> advance(std::span<const float> logits) override;
  std::vector<Generated> results() const override;
  std::vector<Written> written() const override;

 private:
  struct Sequence {
    std::uint64_t seed;
    std::vector<std::int32_t> seen, tokens;
    std::vector<ChosenToken> chosen;
    double log_probability = 0.0;
    std::int32_t row = 0;  // of the present step
    bool ended = false, cut = false;
  };
  // Adds the next token, chosen by the logits after the sequence.
  void extend(Sequence& sequence, std::span<const float> logits) const;
  std::int32_t choose(const Sequence& sequence, std::span<const float> logits) const;

  GenerationOptions options_;
  std::size_t vocabulary_;
  StopCheck stops_;
  std::vector<Sequence> sequences_;
};

}  // namespace blip2
