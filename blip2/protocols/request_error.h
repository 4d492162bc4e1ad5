#pragma once

#include <string>

#include "blip2/base/error.h"

namespace blip2 {

// A request that is refused, or that failed: what OpenAI's error object says. `param` names the
// member of the request, as "messages[0].content[1].image_url"; empty if none is at fault.
class RequestError : public Error {
 public:
  RequestError(int status, std::string code, std::string param, std::string message);

  int status() const { return status_; }  // of HTTP, 400 to 599
  // "invalid_request_error", "authentication_error", "not_found_error", "rate_limit_error" or
  // "server_error", by the status.
  std::string type() const;
  const std::string& code() const { return code_; }
  const std::string& param() const { return param_; }

 private:
  int status_;
  std::string code_, param_;
};

// OpenAI's body: {"error": {"message", "type", "param", "code"}}; Ollama's: {"error": "message"}.
std::string openai_error(const RequestError& error);
std::string ollama_error(const RequestError& error);

}  // namespace blip2
