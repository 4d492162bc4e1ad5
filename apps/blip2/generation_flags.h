#pragma once

#include <CLI/CLI.hpp>

#include "blip2/decoding/options.h"

namespace blip2 {

// Adds --beams, --max-new-tokens and the other options of decoding; the present values of `options`
// are the defaults that the help shows.
void add_generation_flags(CLI::App& verb, GenerationOptions& options);

}  // namespace blip2
