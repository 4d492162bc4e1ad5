#include "apps/blip2/generate.h"

namespace blip2 {

GenerationModel open_generation_model(const RunOptions& options) {
  apply_threads(options.threads);
  return GenerationModel(options.model, options.precision, bridge_type(options), options.pictures);
}

}  // namespace blip2
