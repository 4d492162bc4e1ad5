#pragma once

#include <filesystem>

#include "blip2/io/tensor_view.h"

namespace blip2 {

// Changes the type of the image encoder's weights in a model directory of any layout, and in the
// stage-1 model that it keeps. `type` bf16: all of them. Q8_0: the matrices of the blocks whose
// rows are a multiple of 32, the rest stays as it is (docs/formats.md).
//
// Weight files are replaced one by one; those that are hard links elsewhere stay as they are there.
// Error, naming the encoder, if it is no vision transformer; naming file and tensor if a number is
// not finite or too large: the folder then has no config.json, so that nobody takes it for what was
// asked for.
void convert_vision(const std::filesystem::path& folder, DType type);

}  // namespace blip2
