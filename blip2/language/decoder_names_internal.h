#pragma once

namespace blip2 {

// The names of a model's tensors in files; the names of a layer's parts follow "<layers><number>.".
// A part that the family does not have is "".
struct DecoderNames {
  const char *embeddings, *positions = "", *norm, *head = "lm_head", *layers;
  const char* input_norm = "";
  const char *q = "", *k = "", *v = "", *qkv = "";  // three matrices, or one
  const char *q_norm = "", *k_norm = "", *o, *attention_norm = "";
  const char *post_norm = "", *gate = "", *up, *down;  // without `gate`, `up` holds gate and up
  const char* feed_forward_norm = "";
  bool transposed = false;   // matrices are [in, out], as those of GPT-2's Conv1D
  bool paired_rows = false;  // GGUF files order a head's rows of q and k as pairs for rope
  // The ends of the names of buffers that files may have beside the weights.
  const char *buffer = nullptr, *other_buffer = nullptr;
};

extern const DecoderNames kGgufNames;   // of every family, for the tensors of a GGUF file
extern const DecoderNames kLlamaNames;  // and of families that follow Llama in transformers
extern const DecoderNames kQwenNames;   // Llama's names; rows in GGUF files are not paired
extern const DecoderNames kOptNames, kGpt2Names, kGemma3Names, kPhi3Names, kOlmo2Names;

}  // namespace blip2
