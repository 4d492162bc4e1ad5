#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "blip2/decoding/options.h"

namespace blip2 {

// Sets options that were not given to the values of the model's generation_config.json. Sampling
// draws one sequence unless the file or --beams gives a number of beams, as the verbs' default
// number is for beam search. Call it once the arguments have been read. Wrong usage if options that
// were given contradict each other.
void settle_generation(const CLI::App& verb, const std::string& model, GenerationOptions& options);

// Adds --beams, --max-new-tokens and the other options of decoding; the present values of `options`
// are the defaults that the help shows.
void add_generation_flags(CLI::App& verb, GenerationOptions& options);

}  // namespace blip2
