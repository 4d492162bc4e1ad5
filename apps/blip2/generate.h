#pragma once

#include "apps/blip2/options.h"
#include "blip2/model/batched_generation.h"

namespace blip2 {

GenerationModel open_generation_model(const RunOptions& options);

}  // namespace blip2
