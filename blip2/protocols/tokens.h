#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/protocols/limits.h"

// POST /tokenize and POST /detokenize, in vLLM's shape (`prompt`, `tokens`) and llama.cpp's
// (`content`). The functions are pure; several threads may call them at once.
namespace blip2 {

struct TokenizeRequest {
  std::string text;
  bool add_special_tokens = false;  // llama.cpp's add_special; vLLM's default is true
  bool parse_special = true;        // whether "</s>" in the text is a special token
  bool with_pieces = false;         // vLLM's return_token_strs, llama.cpp's with_pieces
  bool of_llama_cpp = false;        // the request had `content`
};

TokenizeRequest parse_tokenize(std::string_view body, const RequestLimits& limits);
// The tokens. `vocabulary`: ids from it on, and below 0, are refused.
std::vector<std::int32_t> parse_detokenize(std::string_view body, const RequestLimits& limits,
                                           std::int64_t vocabulary);

// `pieces`: the text of each token, if the request asked for them.
std::string tokenize_answer(const TokenizeRequest& request, std::span<const std::int32_t> tokens,
                            std::span<const std::string> pieces, std::int64_t max_model_len);
// The text goes under vLLM's name `prompt` and llama.cpp's `content`.
std::string detokenize_answer(std::string_view text);

}  // namespace blip2
