#pragma once

namespace blip2 {

// What files call a model's tensors; the names of a layer's parts follow "<layers><number>.". A
// part that the family does not have is "".
struct DecoderNames {
  const char *embeddings, *positions = "", *norm, *head = "lm_head", *layers;
  const char* input_norm;
  const char *q = "", *k = "", *v = "", *qkv = "";  // three matrices, or one
  const char *q_norm = "", *k_norm = "", *o, *post_norm, *gate = "", *up, *down;
  bool transposed = false;   // matrices are [in, out], as those of GPT-2's Conv1D
  bool paired_rows = false;  // GGUF files have a head's rows of q and k as (2 i, 2 i + 1) for rope
  // Ends of the names of buffers that files may have beside the weights.
  const char *buffer = nullptr, *other_buffer = nullptr;
};

extern const DecoderNames kGgufNames;   // of every family, for what a GGUF file has
extern const DecoderNames kLlamaNames;  // and what transformers modelled on it
extern const DecoderNames kQwenNames;   // the same in GGUF files without paired rows
extern const DecoderNames kOptNames, kGpt2Names;

}  // namespace blip2
