#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/language/decoder_config.h"
#include "blip2/language/t5_config.h"

namespace blip2 {

class LoraAdapters;  // of lora.h

// A weight of a language model as a GGUF file of llama.cpp's has it: name, shape and order of rows.
struct GgufTensor {
  std::string name;                  // "blk.0.attn_q.weight"
  std::vector<std::int64_t> shape;   // [outs, in] of a matrix
  std::int64_t layer = -1;           // -1: of no layer
  std::function<at::Tensor()> read;  // its numbers as f32, contiguous
};

// What rotary frequencies are divided by: Llama 3.1's, and longrope's [rotated numbers / 2].
inline constexpr char kRopeFactors[] = "rope_freqs.weight",
                      kLongRopeFactors[] = "rope_factors_long.weight",
                      kShortRopeFactors[] = "rope_factors_short.weight";

// The weights that the file has under `prefix`, by Hugging Face's names or by GGUF's, checked as
// load_decoder_weights and load_t5_weights check them, but read one at a time, with the adapters
// `merged` (or null) in them. `config`, the file and the adapters live as long as the list. The
// factors of scaled rope are tensors too.
std::vector<GgufTensor> gguf_tensors(std::shared_ptr<const TensorFile> file,
                                     const DecoderConfig& config, const std::string& prefix,
                                     const LoraAdapters* merged);
std::vector<GgufTensor> gguf_tensors(std::shared_ptr<const TensorFile> file, const T5Config& config,
                                     const std::string& prefix, const LoraAdapters* merged);

// GGUF's name of a T5's tensor.
std::string t5_gguf_name(const std::string& name);

}  // namespace blip2
