#include "blip2/decoding/generate.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using PromptIds = std::span<const std::vector<std::int32_t>>;

void check_counts(std::size_t prompts, const GenerationOptions& options, PromptIds prompt_ids) {
  if (!prompt_ids.empty() && prompt_ids.size() != prompts) {
    throw Error(fmt::format("expected ids of {} prompts, got {}", prompts, prompt_ids.size()),
                "generate");
  }
  if (!options.prompt_seeds.empty() && options.prompt_seeds.size() != prompts) {
    throw Error(
        fmt::format("expected seeds of {} prompts, got {}", prompts, options.prompt_seeds.size()),
        "generate");
  }
}

// A search that has not ended, with its rows in the step function.
struct Running {
  Search* search;
  std::size_t row, rows;
  std::vector<Search::Move> moves;
};

// The running searches after their moves, with the rows that the step function is to have.
struct NextRows {
  std::vector<Running> running;
  std::vector<std::int32_t> sources, tokens;
};
NextRows next_rows(std::vector<Running> running) {
  NextRows next;
  for (Running& item : running) {
    if (item.moves.empty()) continue;
    next.running.push_back({item.search, next.sources.size(), item.moves.size(), {}});
    for (const Search::Move& move : item.moves) {
      next.sources.push_back(static_cast<std::int32_t>(item.row) + move.row);
      next.tokens.push_back(move.token);
    }
  }
  return next;
}

}  // namespace

std::vector<std::vector<Generated>> generate(const StepFunction& step,
                                             std::span<const float> logits,
                                             const GenerationOptions& options, PromptIds prompt_ids,
                                             const StopCheck& stops) {
  const auto width = static_cast<std::size_t>(step.vocabulary);
  const std::size_t prompts = logits.size() / width;
  check_counts(prompts, options, prompt_ids);
  std::vector<std::unique_ptr<Search>> searches;
  std::vector<Running> running;
  for (std::size_t p = 0; p < prompts; ++p) {
    GenerationOptions own = options;
    if (!options.prompt_seeds.empty()) own.seed = options.prompt_seeds[p];
    const auto seen = prompt_ids.empty() ? std::vector<std::int32_t>() : prompt_ids[p];
    searches.push_back(make_search(own, step.vocabulary, seen, stops));
    running.push_back({searches.back().get(), p, 1, {}});
  }
  for (;;) {
    at::parallel_for(0, std::ssize(running), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        Running& item = running[i];
        item.moves = item.search->advance(logits.subspan(item.row * width, item.rows * width));
      }
    });
    NextRows next = next_rows(std::move(running));
    if (next.running.empty()) break;
    step.select(next.sources);
    logits = step.advance(next.tokens);
    running = std::move(next.running);
  }
  std::vector<std::vector<Generated>> answers;
  for (const auto& search : searches) answers.push_back(search->results());
  return answers;
}

}  // namespace blip2
