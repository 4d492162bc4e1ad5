#pragma once

#include <CLI/CLI.hpp>

#include "blip2/decoding/options.h"

namespace blip2 {

// Sampling draws one sequence unless --beams was given: the verbs' default is for searching. To be
// called when the arguments have been read.
void settle_beams(const CLI::App& verb, GenerationOptions& options);

// Adds --beams, --max-new-tokens and the other options of decoding; the present values of `options`
// are the defaults that the help shows.
void add_generation_flags(CLI::App& verb, GenerationOptions& options);

}  // namespace blip2
