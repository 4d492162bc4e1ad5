#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace blip2 {

// How text is generated; names, defaults and meanings are transformers' GenerationConfig's.
struct GenerationOptions {
  std::int64_t max_new_tokens = 30, min_new_tokens = 0;
  std::int64_t beams = 1, return_sequences = 1;
  double length_penalty = 1.0;  // beam scores are log-probability / length ^ length_penalty
  // When beam search ends: "true", once `beams` sequences have ended; "false", once no running beam
  // is better than the worst of them at its present length; "never", once none can become better.
  std::string early_stopping = "false";
  double repetition_penalty = 1.0;        // of tokens generated already
  std::int64_t no_repeat_ngram_size = 0;  // no n tokens in a row occur twice; 0: they may
  bool sample = false;
  double temperature = 1.0;
  std::int64_t top_k = 50;  // 0: all
  double top_p = 1.0;
  std::uint64_t seed = 0;                   // of the samples
  std::vector<std::uint64_t> prompt_seeds;  // of each prompt's samples, in place of `seed`
  std::vector<std::int32_t> eos_token_ids;  // ends a sequence and is its last token

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("max_new_tokens", self.max_new_tokens, "longest answer in tokens");
    visit("min_new_tokens", self.min_new_tokens, "shortest answer in tokens");
    visit("beams", self.beams, "sequences searched side by side; 1 is greedy");
    visit("return_sequences", self.return_sequences, "answers a picture");
    visit("length_penalty", self.length_penalty, "above 0 favours longer, below 0 shorter answers");
    visit("early_stopping", self.early_stopping,
          "when beam search ends: true (as many answers as beams have ended), false (no beam is "
          "better at its length) or never (no beam can become better)");
    visit("repetition_penalty", self.repetition_penalty, "above 1 avoids repeated tokens");
    visit("no_repeat_ngram_size", self.no_repeat_ngram_size,
          "no so many tokens in a row occur twice; 0: they may");
    visit("sample", self.sample, "draw tokens instead of taking the most probable");
    visit("temperature", self.temperature, "of the draws: above 1 more random");
    visit("top_k", self.top_k, "draw among the k most probable tokens; 0 for all");
    visit("top_p", self.top_p, "draw among the most probable tokens with this much mass");
    visit("seed", self.seed, "of the draws");
  }
};

// Error naming the first option out of range or that contradicts another.
void validate(const GenerationOptions& options);

}  // namespace blip2
