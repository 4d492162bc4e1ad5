#include "blip2/decoding/processors_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "blip2/base/error.h"
#include "blip2/nn/kernels/kernels.h"

namespace blip2 {
namespace {

constexpr float excluded = -std::numeric_limits<float>::infinity();

void penalise_repetition(std::span<float> scores, std::span<const std::int32_t> seen,
                         double penalty) {
  std::vector<std::int32_t> tokens(seen.begin(), seen.end());
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  const auto factor = static_cast<float>(penalty);
  for (const std::int32_t token : tokens) {
    if (static_cast<std::size_t>(token) >= scores.size()) continue;  // embedded, never predicted
    float& score = scores[static_cast<std::size_t>(token)];
    score = score < 0 ? score * factor : score / factor;
  }
}

void penalise_written(std::span<float> scores, std::span<const std::int32_t> written,
                      const GenerationOptions& options) {
  std::map<std::int32_t, std::int64_t> counts;
  for (const std::int32_t token : written) ++counts[token];
  for (const auto& [token, count] : counts) {
    const double penalty =
        options.presence_penalty + options.frequency_penalty * static_cast<double>(count);
    scores[static_cast<std::size_t>(token)] -= static_cast<float>(penalty);
  }
}

void forbid_repeated_ngrams(std::span<float> scores, std::span<const std::int32_t> seen,
                            std::size_t size) {
  if (seen.size() < size) return;
  const auto last = seen.last(size - 1);
  for (std::size_t begin = 0; begin + size <= seen.size(); ++begin) {
    const auto token = static_cast<std::size_t>(seen[begin + size - 1]);
    if (token >= scores.size()) continue;
    if (std::equal(last.begin(), last.end(), seen.begin() + begin)) scores[token] = excluded;
  }
}

void keep_top_k(std::span<float> scores, std::int64_t k) {
  if (k >= static_cast<std::int64_t>(scores.size())) return;
  std::vector<float> sorted(scores.begin(), scores.end());
  std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(), std::greater<>());
  const float lowest = sorted[static_cast<std::size_t>(k - 1)];
  for (float& score : scores) score = score < lowest ? excluded : score;
}

// From the least probable token up, tokens go while what has gone is at most 1 - p; the most
// probable `at_least` always stay.
void keep_top_p(std::span<float> scores, double p, std::size_t at_least) {
  std::vector<std::int32_t> order;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] != excluded) order.push_back(static_cast<std::int32_t>(i));
  }
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return scores[static_cast<std::size_t>(a)] < scores[static_cast<std::size_t>(b)];
  });
  const float total = log_sum_exp(scores);
  float gone = 0.0f;
  for (std::size_t i = 0; i + at_least < order.size(); ++i) {
    float& score = scores[static_cast<std::size_t>(order[i])];
    gone += std::exp(score - total);
    if (gone > static_cast<float>(1.0 - p)) return;
    score = excluded;
  }
}

}  // namespace

void process_scores(std::span<float> scores, std::span<const std::int32_t> seen,
                    std::int64_t generated, const GenerationOptions& options) {
  if (options.repetition_penalty != 1.0) {
    penalise_repetition(scores, seen, options.repetition_penalty);
  }
  if (options.presence_penalty != 0 || options.frequency_penalty != 0) {
    penalise_written(scores, seen.last(static_cast<std::size_t>(generated)), options);
  }
  if (options.no_repeat_ngram_size > 0) {
    forbid_repeated_ngrams(scores, seen, static_cast<std::size_t>(options.no_repeat_ngram_size));
  }
  if (generated < options.min_new_tokens) {
    for (const std::int32_t end : options.eos_token_ids) {
      scores[static_cast<std::size_t>(end)] = excluded;
    }
  }
}

void warp_scores(std::span<float> scores, const GenerationOptions& options) {
  if (options.temperature != 1.0) {
    const auto temperature = static_cast<float>(options.temperature);
    for (float& score : scores) score /= temperature;
  }
  const std::size_t at_least = options.beams > 1 ? options.eos_token_ids.size() + 1 : 1;
  if (options.top_k > 0) {
    keep_top_k(scores, std::max(options.top_k, static_cast<std::int64_t>(at_least)));
  }
  if (options.top_p < 1.0) keep_top_p(scores, options.top_p, at_least);
}

float log_sum_exp(std::span<const float> scores) {
  return kernels<float>().log_sum_exp(scores.data(), static_cast<std::int64_t>(scores.size()));
}

void validate(const GenerationOptions& o) {
  const auto need = [](bool condition, const char* message) {
    if (!condition) throw Error(message, "generation options");
  };
  need(o.max_new_tokens > 0, "max_new_tokens: expected at least 1");
  need(o.min_new_tokens >= 0 && o.min_new_tokens <= o.max_new_tokens,
       "min_new_tokens: expected 0 to max_new_tokens");
  need(o.beams > 0 && o.beams <= 1024, "beams: expected 1 to 1024");
  need(o.return_sequences > 0, "return_sequences: expected at least 1");
  need(std::isfinite(o.length_penalty), "length_penalty: expected a finite number");
  need(o.repetition_penalty > 0, "repetition_penalty: expected a number above 0");
  need(o.no_repeat_ngram_size >= 0, "no_repeat_ngram_size: expected 0 (none) or more");
  need(o.early_stopping == "true" || o.early_stopping == "false" || o.early_stopping == "never",
       "early_stopping: expected true, false or never");
  need(o.temperature > 0, "temperature: expected a number above 0");
  need(o.top_k >= 0, "top_k: expected 0 (all) or more");
  need(o.top_p > 0 && o.top_p <= 1, "top_p: expected a number above 0 and at most 1");
  need(std::isfinite(o.presence_penalty), "presence_penalty: expected a finite number");
  need(std::isfinite(o.frequency_penalty), "frequency_penalty: expected a finite number");
  need(std::none_of(o.stop_strings.begin(), o.stop_strings.end(),
                    [](const std::string& stop) { return stop.empty(); }),
       "stop_strings: expected texts that are not empty");
  need(o.top_log_probabilities >= 0 && o.top_log_probabilities <= 20,
       "top_log_probabilities: expected 0 to 20");
  need((o.sample && o.beams == 1) || o.return_sequences <= o.beams,
       "return_sequences: expected at most as many as beams unless sampling with one beam");
}

}  // namespace blip2
