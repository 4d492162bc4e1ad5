#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "blip2/decoding/options.h"

namespace blip2 {

// Sets the options that were not given as the model's generation_config.json has them. Sampling
// draws one sequence unless it or --beams says otherwise: the verbs' default is for searching. To
// be called when the arguments have been read.
void settle_generation(const CLI::App& verb, const std::string& model, GenerationOptions& options);

// Adds --beams, --max-new-tokens and the other options of decoding; the present values of `options`
// are the defaults that the help shows.
void add_generation_flags(CLI::App& verb, GenerationOptions& options);

}  // namespace blip2
