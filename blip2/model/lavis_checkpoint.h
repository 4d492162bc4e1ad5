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

// What a checkpoint of LAVIS's BLIP-2 models has (blip2_qformer.py; blip2_opt.py, blip2_t5.py;
// blip2_vicuna_instruct.py, blip2_t5_instruct.py). LAVIS saves what was trained: the Q-Former with
// its heads or its projection, and the image encoder if it was fine-tuned too.
struct LavisCheckpoint {
  std::shared_ptr<const TensorFile> file;
  // The trained part under this program's names, beside the tensors as the file has them.
  std::vector<std::pair<std::string, const TensorView*>> bridge;
  QFormerConfig qformer;  // by the shapes; heads are 64 wide, as BERT's
  std::int64_t num_query_tokens = 0;
  std::int64_t contrast_width = 0;  // 0: without the heads of stage 1
  std::int64_t language_width = 0;  // 0: without a projection into a language model
  std::string projection;  // "opt_proj", "t5_proj", …, by which LAVIS tells the kinds apart
  // Under which the file has the frozen parts; empty: it does not have them.
  std::string image_prefix, language_prefix;
};

// Whether a file has the tensors by which such a checkpoint is known.
bool is_lavis_checkpoint(const TensorFile& file);

// Error that lists tensors which are none of these models', and one for shapes that contradict each
// other or a file with neither heads nor a projection. The head of BERT that is a copy of the word
// embeddings (it is tied) is left out; Error if it is not a copy.
LavisCheckpoint read_lavis_checkpoint(std::shared_ptr<const TensorFile> file);

// "Qformer.bert.encoder.layer.0.attention.self.query.weight" ->
// "qformer.encoder.layer.0.attention.attention.query.weight"; empty if the bridge has no such part.
std::string lavis_bridge_name(std::string_view name);

}  // namespace blip2
