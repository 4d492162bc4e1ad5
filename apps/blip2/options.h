#pragma once

#include <ATen/core/ATen_fwd.h>
#include <c10/core/ScalarType.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace blip2 {

// Options that every verb which runs a model has.
struct RunOptions {
  std::string model, device = "cpu", precision = "auto", bridge_precision = "f32";
  int threads = 0;
  bool json = false;
};
void add_run_options(CLI::App& verb, RunOptions& options);
// --bridge-precision as a number type.
at::ScalarType bridge_type(const RunOptions& options);
// Sets the number of threads of tensor operations.
void apply_threads(int threads);

void add_json_flag(CLI::App& verb, bool& json);

// --timeout of a verb that several processes may share.
void add_timeout(CLI::App& verb, std::chrono::seconds& timeout);

// Pictures named on the command line and, one a line, in the file --images-from.
struct ImageInputs {
  std::vector<std::string> images;
  std::string list;
};
void add_image_inputs(CLI::App& verb, ImageInputs& inputs);
// All of them in order; Error if there are none.
std::vector<std::string> image_paths(const ImageInputs& inputs);

// A picture that cannot be read: with `json` an object in its place, in any case on standard error.
void print_fault(const std::string& image, const std::string& fault, bool json);
// Error if some of the pictures were bad, for the end of a verb that went on without them.
void require_all_read(std::size_t bad, std::size_t images);

// The lines of a text file, without their ends; a last empty line does not count.
std::vector<std::string> read_lines(const std::string& path);

// One JSON object on one line of standard output.
void print_json(const nlohmann::ordered_json& object);
void print_line(const std::string& line);

}  // namespace blip2
