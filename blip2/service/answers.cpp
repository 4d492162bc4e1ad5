#include <cmath>

#include "blip2/service/answers_internal.h"

namespace blip2 {
namespace {

std::int64_t nanoseconds(double seconds) {
  return std::llround(seconds * 1e9);
}

std::vector<TokenLogprob> logprobs_of(const std::vector<ScoredToken>& tokens) {
  std::vector<TokenLogprob> all;
  for (const ScoredToken& token : tokens) {
    TokenLogprob& one = all.emplace_back();
    one.token = token.bytes;
    one.logprob = token.log_probability;
    for (const TokenScore& top : token.top) one.top.push_back({top.bytes, top.log_probability});
  }
  return all;
}

}  // namespace

RequestError error_of(const JobError& error) {
  switch (error.fault) {
    case JobFault::bad_picture:
      return {400, "invalid_image", "", error.message};
    case JobFault::bad_request:
      return {400, "invalid_value", "", error.message};
    case JobFault::too_long:
      return {400, "context_length_exceeded", "messages", error.message};
    case JobFault::timed_out:
      return {504, "timeout", "", error.message};
    case JobFault::stopped:
      return {503, "stopping", "", "the server is stopping"};
    case JobFault::failed:
      break;
  }
  return {500, "internal_error", "", "the server failed to answer; its log says why"};
}

CompletionPiece piece_of(const TextPiece& piece) {
  return {piece.choice, piece.text, logprobs_of(piece.tokens)};
}

CompletionResult result_of(const TextResult& result) {
  CompletionResult completion;
  for (const WrittenText& text : result.texts) {
    completion.choices.push_back(
        {text.text, text.cut ? "length" : "stop", logprobs_of(text.scored)});
  }
  completion.usage = {result.prompt_tokens, result.written_tokens, result.cached_tokens};
  completion.durations.prompt = nanoseconds(result.reading);
  completion.durations.generation = nanoseconds(result.writing);
  completion.durations.total = nanoseconds(result.queued + result.reading + result.writing);
  return completion;
}

}  // namespace blip2
