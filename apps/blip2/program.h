#pragma once

#include <CLI/CLI.hpp>
#include <exception>
#include <span>
#include <string>

namespace blip2 {

// A function that adds one verb, see verbs.h.
using AddVerb = void (*)(CLI::App&);

// A function that describes a failure in one message.
using DescribeFailure = std::string (*)(const std::exception&);

// Runs the program with these verbs: parses the arguments, the BLIP2_* variables and the file of
// --config, runs the verb that they name and returns the exit code: 0 done, 1 failed with one
// message, 2 wrong usage, 130 interrupted. What a verb throws that is no std::exception, as
// NeedsTorch, goes on to the caller.
int run_program(int argc, char** argv, std::span<const AddVerb> verbs, DescribeFailure describe);

}  // namespace blip2
