#pragma once

#include <string>
#include <string_view>

#include "blip2/protocols/completion.h"
#include "blip2/protocols/limits.h"

// POST /v1/chat/completions. The functions are pure; several threads may call them at once.
namespace blip2 {

// Beside OpenAI's parameters it takes top_k, min_tokens, num_beams (or beams), length_penalty,
// repetition_penalty and no_repeat_ngram_size. Parameters that change nothing are passed over.
// RequestError for everything else.
CompletionRequest parse_openai_chat(std::string_view body, const RequestLimits& limits);

// The body of the whole answer.
std::string openai_completion(const AnswerHead& head, const CompletionRequest& request,
                              const CompletionResult& result);

// The bodies of a stream's events, in this order: first and pieces for each choice, last for each
// choice, then usage if the request asked for it.
std::string openai_first_chunk(const AnswerHead& head, const CompletionRequest& request,
                               std::int64_t choice);
std::string openai_chunk(const AnswerHead& head, const CompletionRequest& request,
                         const CompletionPiece& piece);
std::string openai_last_chunk(const AnswerHead& head, const CompletionRequest& request,
                              std::int64_t choice, const std::string& finish_reason);
std::string openai_usage_chunk(const AnswerHead& head, const Usage& usage);

// "data: BODY\n\n"; a stream ends with kServerSentEnd.
std::string server_sent(std::string_view body);
inline constexpr std::string_view kServerSentEnd = "data: [DONE]\n\n";

}  // namespace blip2
