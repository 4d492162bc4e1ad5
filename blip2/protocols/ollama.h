#pragma once

#include <string>
#include <string_view>

#include "blip2/protocols/completion.h"
#include "blip2/protocols/limits.h"
#include "blip2/protocols/models.h"

// Ollama's routes. Streams are lines of JSON; every function that writes a line ends it with "\n".
// The functions are pure; several threads may call them at once.
namespace blip2 {

// POST /api/generate: one user turn, after a system turn if there is a `system`. Streams unless the
// request says otherwise. RequestError for what is not supported.
CompletionRequest parse_ollama_generate(std::string_view body, const RequestLimits& limits);
// POST /api/chat.
CompletionRequest parse_ollama_chat(std::string_view body, const RequestLimits& limits);
// POST /api/show: the name of the model.
std::string parse_ollama_show(std::string_view body, const RequestLimits& limits);

// Which of the two routes an answer is for: "response": … or "message": {…}.
enum class OllamaRoute { generate, chat };

// A line of a stream (done: false), and its last line (done: true, with counts and durations).
std::string ollama_line(OllamaRoute route, const AnswerHead& head, const CompletionPiece& piece);
std::string ollama_last_line(OllamaRoute route, const AnswerHead& head,
                             const CompletionResult& result);
// The whole answer of a request with stream: false, or that was load_only (`result` is then empty
// but for durations).
std::string ollama_answer(OllamaRoute route, const AnswerHead& head,
                          const CompletionRequest& request, const CompletionResult& result);

// GET /api/tags, POST /api/show, GET /api/version, GET /api/ps.
std::string ollama_tags(const ModelCard& card);
std::string ollama_show(const ModelCard& card);
std::string ollama_version(std::string_view version);
std::string ollama_running(const ModelCard& card);

}  // namespace blip2
