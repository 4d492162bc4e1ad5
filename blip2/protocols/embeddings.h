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
  std::vector<Part> inputs;  // one for each vector: a text or a picture
  EncodingFormat format = EncodingFormat::number;
};

// Takes OpenAI's strings, `input: [{"content": [parts]}]`, and vLLM's `messages` (one vector).
// Texts of one content are joined by line breaks; a text beside a picture is refused, as are token
// ids and `dimensions` other than `width` (if that is not 0).
EmbeddingsRequest parse_embeddings(std::string_view body, const RequestLimits& limits,
                                   std::int64_t width = 0);

std::string embeddings_answer(const AnswerHead& head, const EmbeddingsRequest& request,
                              std::span<const std::vector<float>> vectors, const Usage& usage);

}  // namespace blip2
