#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "blip2/protocols/limits.h"

namespace blip2 {

// What the server tells of its model.
struct ModelCard {
  std::string name;
  std::int64_t created = 0;     // seconds since 1970: of the model's files
  std::string architecture;     // "blip-2"
  std::string language_family;  // "llama", "opt", "t5", …
  std::string quantization;     // "bf16", "q8_0", …
  std::int64_t parameters = 0, bytes = 0;
  std::int64_t max_model_len = 0;    // positions of the language model, if it generates
  std::int64_t image_size = 0;       // pixels a side that the encoder reads
  std::int64_t embedding_width = 0;  // of /v1/embeddings; 0: the model has no stage-1 heads
  std::string digest;                // SHA-256 in hex that names the files; may be empty
  bool generates = true;             // whether it writes texts
};

// GET /v1/models, and the one entry of GET /v1/models/NAME: OpenAI's members, llama.cpp's
// `architecture` with modalities, vLLM's `max_model_len`, `capabilities` ("completion",
// "embedding", "score") and `limits`. Pure.
std::string openai_models(const ModelCard& card, const RequestLimits& limits);
std::string openai_model(const ModelCard& card, const RequestLimits& limits);

}  // namespace blip2
