#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/status.hpp>
#include <ctime>
#include <nlohmann/json.hpp>

#include "blip2/http/answer_head_internal.h"

namespace blip2 {
namespace {

std::string http_date() {
  std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  return fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", parts);
}

// Line breaks in a value would begin another header.
std::string on_one_line(std::string value) {
  std::replace_if(
      value.begin(), value.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; }, ' ');
  return value;
}

void add_header(std::string& head, std::string_view name, std::string_view value) {
  head.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

bool without_body(int status) {
  return status < 200 || status == 204 || status == 304;
}

std::string answer_head(int status, std::string_view content_type, const HttpHeaders& headers,
                        const AnswerFrame& frame) {
  const auto reason =
      boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(status));
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\n", status, std::string_view(reason.data(), reason.size()));
  add_header(head, "Date", http_date());
  add_header(head, "X-Content-Type-Options", "nosniff");
  if (!content_type.empty()) {
    add_header(head, "Content-Type", on_one_line(std::string(content_type)));
  }
  for (const auto& [name, value] : headers) add_header(head, on_one_line(name), on_one_line(value));
  if (frame.chunked) add_header(head, "Transfer-Encoding", "chunked");
  if (frame.length && !without_body(status)) {
    add_header(head, "Content-Length", std::to_string(*frame.length));
  }
  if (!frame.keep_alive) add_header(head, "Connection", "close");
  if (frame.keep_alive && frame.version == 10) add_header(head, "Connection", "keep-alive");
  return head + "\r\n";
}

std::string as_chunk(std::string_view bytes) {
  return bytes.empty() ? "0\r\n\r\n" : fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

std::string error_body(const Refusal& refusal) {
  const char* type = refusal.status < 500 ? "invalid_request_error" : "server_error";
  nlohmann::ordered_json error = {
      {"message", refusal.message}, {"type", type}, {"code", refusal.code}, {"param", nullptr}};
  return nlohmann::ordered_json{{"error", std::move(error)}}.dump(
      -1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace blip2
