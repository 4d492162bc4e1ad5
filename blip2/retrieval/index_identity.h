#pragma once

#include <filesystem>

#include "blip2/image/transform.h"
#include "blip2/search/picture_index.h"

namespace blip2 {

// What an index of pictures is bound to if this model makes its vectors: the shape of a picture's
// vectors and a hash of all that they and the texts' vectors depend on. These are the weights
// without the language model, the configurations of image encoder and Q-Former, the Q-Former's
// tokenizer and the preprocessing with the user's choices. Names of files and the number type of
// the computation do not count, so that a copy of the model is the same model. Reads the weights
// once, at the speed of memory if the system has them in its cache. Error if the directory has no
// stage-1 model. Several threads may call it at once.
IndexIdentity index_identity(const std::filesystem::path& model,
                             const PictureChoices& pictures = {});

}  // namespace blip2
