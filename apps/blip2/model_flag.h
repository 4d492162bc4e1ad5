#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace blip2 {

// Adds an option or argument that names a model: a path, or a model of the Hugging Face Hub in the
// local cache ("organisation/name[@revision]"), which becomes its path when it is parsed (Error if
// it is neither, see find_model()).
CLI::Option* add_model(CLI::App& verb, const std::string& name, std::string& model,
                       const std::string& help);

}  // namespace blip2
