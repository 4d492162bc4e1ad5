#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/protocols/completion.h"
#include "blip2/protocols/limits.h"

// POST /v1/embeddings. The functions are pure; several threads may call them at once.
namespace blip2 {

enum class EncodingFormat { number, base64 };  // base64: of little-endian f32

struct EmbeddingsRequest {
  std::string model;
  // For each vector what it is of: a text, a picture, or (in any order) several of them.
  std::vector<std::vector<Part>> inputs;
  EncodingFormat format = EncodingFormat::number;
};

// Takes OpenAI's strings, `input: [{"content": [parts]}]`, and vLLM's `messages` (one vector).
// Token ids and `dimensions` other than `width` (if it is not 0) are refused.
EmbeddingsRequest parse_embeddings(std::string_view body, const RequestLimits& limits,
                                   std::int64_t width = 0);

std::string embeddings_answer(const AnswerHead& head, const EmbeddingsRequest& request,
                              std::span<const std::vector<float>> vectors, const Usage& usage);

}  // namespace blip2
