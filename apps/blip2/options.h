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

// Options that every verb which runs a model has.
struct RunOptions {
  std::string model, device = "cpu", precision = "auto", bridge_precision = "f32";
  int threads = 0;
  bool json = false;
  PictureChoices pictures;
};
void add_run_options(CLI::App& verb, RunOptions& options);
// --bridge-precision as a number type.
at::ScalarType bridge_type(const RunOptions& options);
// Sets the number of threads of tensor operations.
void apply_threads(int threads);

// --special-tokens of a verb that takes texts.
void add_special_tokens_flag(CLI::App& verb, bool& special_tokens);
// What somebody typed or a data file says: plain text, unless its special tokens count.
Prompt typed_text(const std::string& text, bool special_tokens);

// --timeout of a verb that several processes may share.
void add_timeout(CLI::App& verb, std::chrono::seconds& timeout);

// Pictures named on the command line and in the file --images-from: one a line, or a data file.
struct ImageInputs {
  std::vector<std::string> images;
  std::string list;
  std::optional<double> bad_share;  // see BadItems
};
void add_image_inputs(CLI::App& verb, ImageInputs& inputs);
// A picture and the id that a data file gives it; empty if it gives none.
struct ListedImage {
  std::string image, id;
};
// All of them in order; Error if there are none.
std::vector<ListedImage> listed_images(const ImageInputs& inputs);
std::vector<std::string> image_paths(const ImageInputs& inputs);

// The lines of a UTF-8 text file, without their ends and byte order marks; a last empty line does
// not count. Error if it is UTF-16.
std::vector<std::string> read_lines(const std::string& path);

}  // namespace blip2
