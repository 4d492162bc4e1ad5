#pragma once

#include <memory>

#include "blip2/http/server.h"
#include "blip2/protocols/completion.h"
#include "blip2/protocols/ollama.h"
#include "blip2/protocols/request_error.h"

namespace blip2 {

// Writes one completion as a protocol has it: as a stream or as a whole answer. A stream begins
// with the first piece, so that what fails before has a status of its own. Calls come one at a
// time.
class CompletionWriter {
 public:
  virtual ~CompletionWriter() = default;
  virtual void piece(const CompletionPiece& piece) = 0;  // only if the request streams
  virtual void done(const CompletionResult& result) = 0;
  virtual void failed(const RequestError& error) = 0;
};

std::unique_ptr<CompletionWriter> openai_writer(std::shared_ptr<HttpReply> reply, AnswerHead head,
                                                CompletionRequest request);
std::unique_ptr<CompletionWriter> ollama_writer(OllamaRoute route, std::shared_ptr<HttpReply> reply,
                                                AnswerHead head, CompletionRequest request);

}  // namespace blip2
