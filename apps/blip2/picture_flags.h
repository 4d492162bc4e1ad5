#pragma once

#include <CLI/CLI.hpp>

#include "blip2/image/transform.h"

namespace blip2 {

// --processor and --sixteen-bit: how pictures become pixel values, if not as the model directory
// says.
void add_picture_choices(CLI::App& verb, PictureChoices& choices);

}  // namespace blip2
