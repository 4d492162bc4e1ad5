#include "blip2/protocols/request_error.h"

#include <utility>

#include "blip2/protocols/request_json_internal.h"

namespace blip2 {

using nlohmann::ordered_json;

RequestError::RequestError(int status, std::string code, std::string param, std::string message)
    : Error(std::move(message)),
      status_(status),
      code_(std::move(code)),
      param_(std::move(param)) {}

std::string RequestError::type() const {
  if (status_ >= 500) return "server_error";
  if (status_ == 401 || status_ == 403) return "authentication_error";
  if (status_ == 404) return "not_found_error";
  return status_ == 429 ? "rate_limit_error" : "invalid_request_error";
}

std::string openai_error(const RequestError& error) {
  ordered_json body = {{"message", error.what()}, {"type", error.type()}};
  body["param"] = error.param().empty() ? ordered_json() : ordered_json(error.param());
  body["code"] = error.code().empty() ? ordered_json() : ordered_json(error.code());
  return dumped({{"error", body}});
}

std::string ollama_error(const RequestError& error) {
  return dumped({{"error", error.what()}});
}

}  // namespace blip2
