#include "blip2/decoding/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/decoding/beam_search_internal.h"
#include "blip2/decoding/processors_internal.h"
#include "blip2/decoding/token_search_internal.h"

namespace blip2 {
namespace {

void check_vocabulary(const GenerationOptions& options, std::int64_t vocabulary) {
  for (const std::int32_t end : options.eos_token_ids) {
    if (end >= 0 && end < vocabulary) continue;
    throw Error(fmt::format("end token {} is not in the vocabulary of {}", end, vocabulary),
                "generation options");
  }
  const std::int64_t candidates =
      options.beams * std::max<std::int64_t>(2, 1 + std::ssize(options.eos_token_ids));
  if (options.beams > 1 && candidates > vocabulary) {
    throw Error(fmt::format("{} beams need a vocabulary of at least {}, got {}", options.beams,
                            candidates, vocabulary),
                "generation options");
  }
}

}  // namespace

std::unique_ptr<Search> make_search(const GenerationOptions& options, std::int64_t vocabulary,
                                    std::vector<std::int32_t> seen, StopCheck stops) {
  validate(options);
  check_vocabulary(options, vocabulary);
  if (options.beams == 1) {
    return std::make_unique<TokenSearch>(options, vocabulary, seen, std::move(stops));
  }
  return std::make_unique<BeamSearch>(options, vocabulary, std::move(seen), std::move(stops));
}

ChosenToken chosen_token(std::span<const float> logits, std::int32_t token, std::int64_t top) {
  const double total = log_sum_exp(logits);
  const auto log_of = [&](std::int32_t id) -> TokenLog {
    return {id, logits[static_cast<std::size_t>(id)] - total};
  };
  ChosenToken chosen{log_of(token), {}};
  if (top == 0) return chosen;
  std::vector<std::int32_t> best(logits.size());
  std::iota(best.begin(), best.end(), 0);
  const auto count = std::min(static_cast<std::size_t>(top), best.size());
  std::partial_sort(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(count), best.end(),
                    [&](std::int32_t a, std::int32_t b) {
                      const float x = logits[static_cast<std::size_t>(a)],
                                  y = logits[static_cast<std::size_t>(b)];
                      return x > y || (x == y && a < b);
                    });
  for (std::size_t i = 0; i < count; ++i) chosen.top.push_back(log_of(best[i]));
  return chosen;
}

}  // namespace blip2
