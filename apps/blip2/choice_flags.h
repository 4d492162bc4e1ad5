#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "apps/blip2/options.h"
#include "blip2/retrieval/caption_choice.h"

namespace blip2 {

// The options --choose, --candidates and --names.
struct ChoiceFlags {
  std::string choose, names;
  std::int64_t candidates = 0;  // number of texts to generate for each picture
  bool on() const { return !choose.empty(); }
};
void add_choice_flags(CLI::App& verb, ChoiceFlags& flags);

// --rerank and --matching-weight, for ranking names.
void add_ranking_flags(CLI::App& verb, LabelOptions& ranking);

// The options of the choice that the flags ask for; `generation` is changed to give --candidates
// texts. Error if there are no candidates, or --beams was given and is less. Call it once the
// arguments have been read, after settle_generation().
CaptionChoiceOptions choice_options(const CLI::App& verb, const RunOptions& run,
                                    const ChoiceFlags& flags, const LabelOptions& ranking,
                                    GenerationOptions generation);

}  // namespace blip2
