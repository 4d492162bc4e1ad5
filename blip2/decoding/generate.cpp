#include "blip2/decoding/generate.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/decoding/beam_search_internal.h"
#include "blip2/decoding/processors_internal.h"

namespace blip2 {
namespace {

using Answers = std::vector<std::vector<Generated>>;
using PromptIds = std::span<const std::vector<std::int32_t>>;

std::size_t prompt_count(const StepFunction& step, std::span<const float> logits) {
  return logits.size() / static_cast<std::size_t>(step.vocabulary);
}

std::uint64_t seed_of(const GenerationOptions& options, std::size_t prompt) {
  return options.prompt_seeds.empty() ? options.seed : options.prompt_seeds[prompt];
}

// One sequence of greedy search or sampling.
struct Sequence {
  std::size_t prompt;
  std::uint64_t seed;
  std::vector<std::int32_t> seen, tokens;
  double log_probability = 0.0;
  bool ended = false;
};

std::int32_t draw(std::span<float> scores, const Sequence& sequence,
                  const GenerationOptions& options) {
  warp_scores(scores, options);
  Random random(derive_seed(sequence.seed, sequence.tokens.size()));
  const float total = log_sum_exp(scores);
  double left = random.uniform();
  std::size_t last = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double probability = std::exp(scores[i] - total);
    if (probability <= 0.0) continue;
    last = i;
    left -= probability;
    if (left < 0.0) break;
  }
  return static_cast<std::int32_t>(last);
}

// Adds the next token, chosen by the logits after the sequence.
void extend(Sequence& sequence, std::span<const float> logits, const GenerationOptions& options) {
  std::vector<float> scores(logits.begin(), logits.end());
  const auto generated = static_cast<std::int64_t>(sequence.tokens.size());
  process_scores(scores, sequence.seen, generated, options);
  const auto token = options.sample
                         ? draw(scores, sequence, options)
                         : static_cast<std::int32_t>(
                               std::max_element(scores.begin(), scores.end()) - scores.begin());
  sequence.log_probability += logits[static_cast<std::size_t>(token)] - log_sum_exp(logits);
  sequence.tokens.push_back(token);
  sequence.seen.push_back(token);
  const auto& ends = options.eos_token_ids;
  sequence.ended = generated + 1 >= options.max_new_tokens ||
                   std::find(ends.begin(), ends.end(), token) != ends.end();
}

Answers answers_of(std::vector<Sequence> sequences, std::size_t prompts,
                   const GenerationOptions& options) {
  Answers answers(prompts);
  for (Sequence& sequence : sequences) {
    const double length = static_cast<double>(sequence.tokens.size());
    const double score = sequence.log_probability / std::pow(length, options.length_penalty);
    answers[sequence.prompt].push_back({std::move(sequence.tokens), score});
  }
  return answers;
}

Answers search_single(const StepFunction& step, std::span<const float> logits,
                      const GenerationOptions& options, PromptIds prompt_ids) {
  const auto width = static_cast<std::size_t>(step.vocabulary);
  const std::size_t prompts = prompt_count(step, logits);
  std::vector<Sequence> sequences;
  std::vector<std::size_t> running;  // the sequence of each row
  std::vector<std::int32_t> sources, tokens;
  for (std::size_t p = 0; p < prompts; ++p) {
    for (std::int64_t i = 0; i < options.return_sequences; ++i) {
      running.push_back(sequences.size());
      sources.push_back(static_cast<std::int32_t>(p));
      sequences.push_back({p,
                           derive_seed(seed_of(options, p), i),
                           prompt_ids.empty() ? std::vector<std::int32_t>() : prompt_ids[p],
                           {}});
    }
  }
  for (;;) {
    std::vector<std::size_t> next;
    std::vector<std::int32_t> rows;
    tokens.clear();
    for (std::size_t i = 0; i < running.size(); ++i) {
      Sequence& sequence = sequences[running[i]];
      const auto row = static_cast<std::size_t>(sources[i]);
      extend(sequence, logits.subspan(row * width, width), options);
      if (sequence.ended) continue;
      next.push_back(running[i]);
      rows.push_back(sources[i]);
      tokens.push_back(sequence.tokens.back());
    }
    if (next.empty()) return answers_of(std::move(sequences), prompts, options);
    step.select(rows);
    logits = step.advance(tokens);
    running = std::move(next);
    sources.resize(running.size());
    for (std::size_t i = 0; i < sources.size(); ++i) sources[i] = static_cast<std::int32_t>(i);
  }
}

Answers search_beams(const StepFunction& step, std::span<const float> logits,
                     const GenerationOptions& options, PromptIds prompt_ids) {
  const auto width = static_cast<std::size_t>(step.vocabulary);
  const std::size_t prompts = prompt_count(step, logits);
  struct Running {
    std::size_t prompt, row, rows;  // its beams' rows in the step function
  };
  std::vector<BeamSearch> searches;
  std::vector<Running> running;
  for (std::size_t p = 0; p < prompts; ++p) {
    GenerationOptions own = options;
    own.seed = seed_of(options, p);
    searches.emplace_back(own, prompt_ids.empty() ? std::vector<std::int32_t>() : prompt_ids[p]);
    running.push_back({p, p, 1});
  }
  for (;;) {
    std::vector<Running> next;
    std::vector<std::int32_t> sources, tokens;
    std::vector<std::vector<BeamSearch::Move>> moves(running.size());
    at::parallel_for(0, std::ssize(running), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        const auto& [prompt, row, rows] = running[i];
        moves[i] =
            searches[prompt].advance(logits.subspan(row * width, rows * width), step.vocabulary);
      }
    });
    for (std::size_t i = 0; i < running.size(); ++i) {
      const Running& item = running[i];
      if (searches[item.prompt].done()) continue;
      next.push_back({item.prompt, sources.size(), moves[i].size()});
      for (const BeamSearch::Move& move : moves[i]) {
        const std::size_t beam = item.rows == 1 ? 0 : static_cast<std::size_t>(move.beam);
        sources.push_back(static_cast<std::int32_t>(item.row + beam));
        tokens.push_back(move.token);
      }
    }
    if (next.empty()) break;
    step.select(sources);
    logits = step.advance(tokens);
    running = std::move(next);
  }
  Answers answers;
  for (const BeamSearch& search : searches) answers.push_back(search.results());
  return answers;
}

}  // namespace

Answers generate(const StepFunction& step, std::span<const float> logits,
                 const GenerationOptions& options, PromptIds prompt_ids) {
  validate(options);
  const std::size_t prompts = prompt_count(step, logits);
  if (!prompt_ids.empty() && prompt_ids.size() != prompts) {
    throw Error(fmt::format("expected ids of {} prompts, got {}", prompts, prompt_ids.size()),
                "generate");
  }
  if (!options.prompt_seeds.empty() && options.prompt_seeds.size() != prompts) {
    throw Error(
        fmt::format("expected seeds of {} prompts, got {}", prompts, options.prompt_seeds.size()),
        "generate");
  }
  for (const std::int32_t end : options.eos_token_ids) {
    if (end >= 0 && end < step.vocabulary) continue;
    throw Error(fmt::format("end token {} is not in the vocabulary of {}", end, step.vocabulary),
                "generation options");
  }
  const std::int64_t candidates =
      options.beams *
      std::max<std::int64_t>(2, 1 + static_cast<std::int64_t>(options.eos_token_ids.size()));
  if (options.beams > 1 && candidates > step.vocabulary) {
    throw Error(fmt::format("{} beams need a vocabulary of at least {}, got {}", options.beams,
                            candidates, step.vocabulary),
                "generation options");
  }
  return options.beams > 1 ? search_beams(step, logits, options, prompt_ids)
                           : search_single(step, logits, options, prompt_ids);
}

}  // namespace blip2
