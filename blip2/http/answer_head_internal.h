#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "blip2/http/server.h"

namespace blip2 {

// How an answer's body is delimited.
struct AnswerFrame {
  bool chunked = false;
  std::optional<std::uint64_t> length;  // neither: the connection's end ends the body
  bool keep_alive = true;
  int version = 11;  // of the request: 10 or 11
};

// Whether answers of this status have no body at all.
bool without_body(int status);

// Status line and headers, with the empty line behind them.
std::string answer_head(int status, std::string_view content_type, const HttpHeaders& headers,
                        const AnswerFrame& frame);

// One chunk of a chunked body; of no bytes, the last one.
std::string as_chunk(std::string_view bytes);

// What the server refuses by itself.
struct Refusal {
  int status;
  std::string code, message;
  HttpHeaders headers;
};

// OpenAI's form of an error, as JSON.
std::string error_body(const Refusal& refusal);

}  // namespace blip2
