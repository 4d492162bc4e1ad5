#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "blip2/protocols/openai_answers_internal.h"
#include "blip2/protocols/openai_chat.h"
#include "blip2/protocols/request_json_internal.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

ordered_json head_of(const AnswerHead& head, const char* object) {
  return {{"id", head.id}, {"object", object}, {"created", head.created}, {"model", head.model}};
}

ordered_json chunk_of(const AnswerHead& head, const CompletionRequest& request,
                      ordered_json choice) {
  ordered_json chunk = head_of(head, "chat.completion.chunk");
  chunk["choices"] = ordered_json::array({std::move(choice)});
  if (request.include_usage) chunk["usage"] = nullptr;  // it comes in a chunk of its own
  return chunk;
}

ordered_json choice_of(std::int64_t index, ordered_json delta) {
  return {{"index", index},
          {"delta", std::move(delta)},
          {"logprobs", nullptr},
          {"finish_reason", nullptr}};
}

ordered_json token_of(const std::string& token, double logprob) {
  ordered_json bytes = ordered_json::array();
  for (const char byte : token) bytes.push_back(static_cast<unsigned char>(byte));
  constexpr double kImpossible = -9999;  // OpenAI's number for a token that cannot come
  const double number = std::isfinite(logprob) ? logprob : kImpossible;
  return {{"token", token}, {"logprob", number}, {"bytes", std::move(bytes)}};
}

ordered_json logprobs_of(const std::vector<TokenLogprob>& tokens) {
  return {{"content", openai_logprobs(tokens)}, {"refusal", nullptr}};
}

}  // namespace

ordered_json openai_logprobs(const std::vector<TokenLogprob>& tokens) {
  ordered_json content = ordered_json::array();
  for (const TokenLogprob& token : tokens) {
    ordered_json entry = token_of(token.token, token.logprob);
    entry["top_logprobs"] = ordered_json::array();
    for (const TopToken& top : token.top)
      entry["top_logprobs"].push_back(token_of(top.token, top.logprob));
    content.push_back(std::move(entry));
  }
  return content;
}

ordered_json openai_usage(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

std::string openai_completion(const AnswerHead& head, const CompletionRequest& request,
                              const CompletionResult& result) {
  ordered_json answer = head_of(head, "chat.completion");
  answer["choices"] = ordered_json::array();
  for (const Choice& choice : result.choices) {
    answer["choices"].push_back(
        {{"index", answer["choices"].size()},
         {"message", {{"role", "assistant"}, {"content", choice.text}, {"refusal", nullptr}}},
         {"logprobs", request.logprobs ? logprobs_of(choice.tokens) : ordered_json()},
         {"finish_reason", choice.finish_reason}});
  }
  answer["usage"] = openai_usage(result.usage);
  return dumped(answer);
}

std::string openai_first_chunk(const AnswerHead& head, const CompletionRequest& request,
                               std::int64_t choice) {
  const ordered_json delta = {{"role", "assistant"}, {"content", ""}};
  return dumped(chunk_of(head, request, choice_of(choice, delta)));
}

std::string openai_chunk(const AnswerHead& head, const CompletionRequest& request,
                         const CompletionPiece& piece) {
  ordered_json choice = choice_of(piece.choice, {{"content", piece.text}});
  if (request.logprobs) choice["logprobs"] = logprobs_of(piece.tokens);
  return dumped(chunk_of(head, request, std::move(choice)));
}

std::string openai_last_chunk(const AnswerHead& head, const CompletionRequest& request,
                              std::int64_t choice, const std::string& finish_reason) {
  ordered_json last = choice_of(choice, ordered_json::object());
  last["finish_reason"] = finish_reason;
  return dumped(chunk_of(head, request, std::move(last)));
}

std::string openai_usage_chunk(const AnswerHead& head, const Usage& usage) {
  ordered_json chunk = head_of(head, "chat.completion.chunk");
  chunk["choices"] = ordered_json::array();
  chunk["usage"] = openai_usage(usage);
  return dumped(chunk);
}

std::string server_sent(std::string_view body) {
  return std::string("data: ").append(body).append("\n\n");
}

}  // namespace blip2
