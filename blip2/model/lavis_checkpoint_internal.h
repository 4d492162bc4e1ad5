#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/qformer/config.h"

namespace blip2 {

// The content of a checkpoint of LAVIS's BLIP-2 models (blip2_qformer.py; blip2_opt.py,
// blip2_t5.py; blip2_vicuna_instruct.py, blip2_t5_instruct.py). LAVIS saves the trained parts: the
// Q-Former with its heads or its projection, and the image encoder if it was fine-tuned.
struct LavisCheckpoint {
  std::shared_ptr<const TensorFile> file;
  // The tensors of the bridge: the name in this program, and the tensor in the file.
  std::vector<std::pair<std::string, const TensorView*>> bridge;
  QFormerConfig qformer;  // read off the shapes; heads are 64 wide, as in BERT
  std::int64_t num_query_tokens = 0;
  std::int64_t contrast_width = 0;  // 0: without the heads of stage 1
  std::int64_t language_width = 0;  // 0: without a projection into a language model
  std::string projection;           // LAVIS's name of the projection: "opt_proj", "t5_proj", …
  // The prefixes of the frozen parts' names in the file; empty if the file lacks the part.
  std::string image_prefix, language_prefix;
};

// Whether a file has the tensors by which a LAVIS checkpoint is recognised.
bool is_lavis_checkpoint(const TensorFile& file);

// Reads a checkpoint. Error that lists tensors which belong to none of these models; Error for
// shapes that contradict each other, and for a file with neither heads nor a projection. BERT's
// tied head is left out, as it is a copy of the word embeddings; Error if it is not a copy.
LavisCheckpoint read_lavis_checkpoint(std::shared_ptr<const TensorFile> file);

// "Qformer.bert.encoder.layer.0.attention.self.query.weight" ->
// "qformer.encoder.layer.0.attention.attention.query.weight"; empty if the bridge has no such part.
std::string lavis_bridge_name(std::string_view name);

}  // namespace blip2
