#pragma once

#include <ATen/core/ATen_fwd.h>
#include <c10/core/ScalarType.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/blip2/output.h"
#include "apps/blip2/picture_flags.h"
#include "blip2/image/transform.h"
#include "blip2/text/prompt.h"

namespace blip2 {

// The options of every verb that runs a model.
struct RunOptions {
  std::string model, device = "cpu", precision = "auto", bridge_precision = "f32";
  int threads = 0;
  bool json = false;
  PictureChoices pictures;
};
void add_run_options(CLI::App& verb, RunOptions& options);
// The number type that --bridge-precision names.
at::ScalarType bridge_type(const RunOptions& options);
// Sets the number of threads of tensor operations.
void apply_threads(int threads);

// Adds --special-tokens to a verb that takes texts.
void add_special_tokens_flag(CLI::App& verb, bool& special_tokens);
// A text that somebody typed or that comes from a data file: plain text, unless its special tokens
// count.
Prompt typed_text(const std::string& text, bool special_tokens);

// For the check() of an option that names what is written: what is wrong with an empty name.
std::string refuse_empty(const std::string& name);

// Adds --timeout to a verb that several processes may share.
void add_timeout(CLI::App& verb, std::chrono::seconds& timeout);

// Pictures named on the command line and in the file of --images-from: one in each line, or a data
// file.
struct ImageInputs {
  std::vector<std::string> images;
  std::string list;
  std::optional<double> bad_share;  // see BadItems
};
void add_image_inputs(CLI::App& verb, ImageInputs& inputs);
// A picture and its id in a data file, which is empty if the file has none.
struct ListedImage {
  std::string image, id;
};
// All pictures in order; Error if the list has none, wrong usage if nothing was named.
std::vector<ListedImage> listed_images(const ImageInputs& inputs);
std::vector<std::string> image_paths(const ImageInputs& inputs);

// The lines of a UTF-8 text file without line ends and byte order marks; an empty last line does
// not count. Error if the file is UTF-16.
std::vector<std::string> read_lines(const std::string& path);

}  // namespace blip2
