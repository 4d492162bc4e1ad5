#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace blip2 {

// How text is generated; names and meanings are those of transformers' GenerationConfig. A plain
// value: threads may share it while none changes it.
struct GenerationOptions {
  std::int64_t max_new_tokens = 30, min_new_tokens = 0;
  std::int64_t beams = 1, return_sequences = 1;
  double length_penalty = 1.0;  // beam scores are log-probability / length ^ length_penalty
  // When beam search ends: "true": once `beams` sequences have ended; "false": once no running beam
  // is better, at its present length, than the worst of the ended sequences; "never": once no
  // running beam can become better.
  std::string early_stopping = "false";
  double repetition_penalty = 1.0;        // for tokens that were generated already
  std::int64_t no_repeat_ngram_size = 0;  // n: no n-gram of tokens occurs twice; 0: no limit
  bool sample = false;
  double temperature = 1.0;
  std::int64_t top_k = 50;  // 0: draw among all tokens
  double top_p = 1.0;
  std::uint64_t seed = 0;                   // seed of the samples
  std::vector<std::uint64_t> prompt_seeds;  // seed for each prompt, instead of `seed`
  std::vector<std::int32_t> eos_token_ids;  // ends a sequence and is its last token
  // What only requests ask for. Taken off the score of each token that was written already: once,
  // and for each time that it was written.
  double presence_penalty = 0, frequency_penalty = 0;
  std::vector<std::string> stop_strings;   // a text ends before the first of them
  bool log_probabilities = false;          // of every token, in Generated::chosen
  std::int64_t top_log_probabilities = 0;  // and of so many of the most probable ones, at most 20

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("max_new_tokens", self.max_new_tokens, "largest number of tokens to generate");
    visit("min_new_tokens", self.min_new_tokens, "smallest number of tokens to generate");
    visit("beams", self.beams, "number of beams of beam search; 1: greedy decoding");
    visit("return_sequences", self.return_sequences, "number of texts to return for each picture");
    visit("length_penalty", self.length_penalty,
          "above 0 favours longer texts, below 0 shorter ones");
    visit("early_stopping", self.early_stopping,
          "when beam search ends: true (as many texts as beams are complete), false (no running "
          "beam is better at its present length) or never (no running beam can become better)");
    visit("repetition_penalty", self.repetition_penalty,
          "above 1 makes repeated tokens less likely");
    visit("no_repeat_ngram_size", self.no_repeat_ngram_size,
          "n: no sequence of n tokens occurs twice in a text; 0: no limit");
    visit("sample", self.sample, "draw tokens instead of taking the most probable");
    visit("temperature", self.temperature, "temperature of sampling; above 1 draws more randomly");
    visit("top_k", self.top_k, "draw among the k most probable tokens; 0: among all");
    visit("top_p", self.top_p,
          "draw among the most probable tokens whose probabilities sum to this share");
    visit("seed", self.seed, "seed of sampling");
  }
};

// Error naming the first option that is out of range or contradicts another option.
void validate(const GenerationOptions& options);

}  // namespace blip2
