#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "apps/blip2/options.h"
#include "blip2/retrieval/caption_choice.h"

namespace blip2 {

// --choose and what belongs to it.
struct ChoiceFlags {
  std::string choose, names;
  std::int64_t candidates = 0;  // texts to write for each picture
  bool on() const { return !choose.empty(); }
};
void add_choice_flags(CLI::App& verb, ChoiceFlags& flags);

// --rerank and --matching-weight, for ranking names.
void add_ranking_flags(CLI::App& verb, LabelOptions& ranking);

// The choice that the flags ask for, with `generation` searching for, or drawing, so many
// candidates. Error if there are none, or --beams was given and is less. To be called when the
// arguments have been read and settle_generation() was.
CaptionChoiceOptions choice_options(const CLI::App& verb, const RunOptions& run,
                                    const ChoiceFlags& flags, const LabelOptions& ranking,
                                    GenerationOptions generation);

}  // namespace blip2
