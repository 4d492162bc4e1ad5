#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <exception>
#include <utility>

#include "blip2/base/log.h"
#include "blip2/http/connection_internal.h"

namespace blip2 {
namespace {

// A client that sends a chunk's header or trailer of this length will not come to an end.
constexpr std::size_t kLongestChunkHeader = 32u << 10;

// Whether a header goes on in a second line, which a proxy may read otherwise (RFC 9112, 5.2).
bool is_folded(std::string_view header) {
  return header.find("\r\n ") != std::string_view::npos ||
         header.find("\r\n\t") != std::string_view::npos;
}

bool is_open(const HttpOptions& options, const HttpRequest& request) {
  if (request.method != "GET" && request.method != "HEAD") return false;
  const auto& paths = options.open_paths;
  return std::find(paths.begin(), paths.end(), request.path) != paths.end();
}

}  // namespace

using boost::system::error_code;

void Connection::advance() {
  if (state_ == State::kIdle) {
    while (input_.starts_with("\r\n")) input_.erase(0, 2);  // RFC 9112, 2.2
    if (input_.empty()) return;
    state_ = State::kHeader;
    arm(core_.options.limits.header_seconds, &Connection::too_slow);
  }
  if (state_ == State::kHeader) read_header();
  if (state_ == State::kBody) read_body();
}

void Connection::read_header() {
  error_code error;
  const std::size_t used = parser_->put(boost::asio::buffer(input_), error);
  if (is_folded({input_.data(), used})) error = boost::beast::http::error::bad_line_ending;
  input_.erase(0, used);
  header_bytes_ += used;
  // The parser's own limit begins again with every part of the header.
  if (header_bytes_ > core_.options.limits.header_bytes) {
    error = boost::beast::http::error::header_limit;
  }
  if (error == boost::beast::http::error::need_more) return;
  if (error) return refuse(parse_fault(error));
  if (parser_->is_header_done()) on_header();
}

void Connection::open_exchange() {
  exchange_ = std::make_shared<Exchange>(shared_from_this());
  core_.counters.update([](HttpCounts& counts) { ++counts.running; });
}

void Connection::on_header() {
  request_ = request_of(parser_->get());
  request_.remote = remote_;
  const std::string& id = request_.header("x-request-id");
  request_.request_id = is_sane_id(id) ? id : core_.new_request_id();
  open_exchange();
  exchange_->id = request_.request_id;
  exchange_->method = request_.method;
  exchange_->path = request_.path;
  exchange_->version = static_cast<int>(parser_->get().version());
  exchange_->keep_alive = parser_->keep_alive();
  exchange_->headers = core_.cors.headers_for(request_);
  if (const auto refusal = why_refused()) return refuse(*refusal);
  if (answer_preflight()) return;
  if (!parser_->is_done() && exchange_->version == 11 && !request_.header("expect").empty()) {
    output_ += "HTTP/1.1 100 Continue\r\n\r\n";
    flush();
  }
  parser_->eager(true);
  state_ = State::kBody;
  arm(core_.options.limits.body_seconds, &Connection::too_slow);
}

// In the order in which a client should learn of it; nothing of the body has been read.
std::optional<Refusal> Connection::why_refused() const {
  if (core_.draining) {
    return Refusal{503, "shutting_down", "the server is shutting down", {{"Retry-After", "5"}}};
  }
  if (auto fault = header_fault(parser_->get())) return fault;
  if (!core_.cors.is_preflight(request_) && !is_open(core_.options, request_) &&
      !core_.keys.admits(request_)) {
    return Refusal{401,
                   "invalid_api_key",
                   "the request carries no valid API key",
                   {{"WWW-Authenticate", "Bearer"}}};
  }
  const std::uint64_t most = core_.options.limits.body_bytes;
  if (const auto length = parser_->content_length(); length && *length > most) {
    return Refusal{413,
                   "body_too_large",
                   "the request's body is larger than " + std::to_string(most) + " bytes",
                   {}};
  }
  return std::nullopt;
}

bool Connection::answer_preflight() {
  if (!core_.cors.is_preflight(request_)) return false;
  exchange_->refused = true;
  exchange_->keep_alive = exchange_->keep_alive && parser_->is_done();
  disarm();
  state_ = State::kAnswering;
  const bool allowed = core_.cors.allows(request_);
  send(allowed ? 204 : 403, "", "",
       allowed ? CorsRules::preflight_headers(request_) : HttpHeaders{});
  return true;
}

void Connection::read_body() {
  error_code error;
  while (!parser_->is_done() && !input_.empty() && !error) {
    const std::size_t used = parser_->put(boost::asio::buffer(input_), error);
    input_.erase(0, used);
  }
  if (error && error != boost::beast::http::error::need_more) return refuse(parse_fault(error));
  if (!account_for_body()) return;
  if (parser_->is_done()) return deliver();
  if (input_.size() > kLongestChunkHeader) {
    refuse({400, "malformed_request", "a chunk's header is too long", {}});
  }
}

// Whether the body, as far as it is there, is within the limits; otherwise it is refused.
bool Connection::account_for_body() {
  const HttpLimits& limits = core_.options.limits;
  const std::uint64_t size = parser_->get().body().size();
  if (size > limits.body_bytes) {
    refuse({413,
            "body_too_large",
            "the request's body is larger than " + std::to_string(limits.body_bytes) + " bytes",
            {}});
    return false;
  }
  const std::uint64_t grown = size - exchange_->body_reserved;
  exchange_->body_reserved = size;
  if ((core_.body_bytes += grown) <= limits.bodies_bytes) return true;
  refuse({503,
          "too_many_bodies",
          "the bodies of all requests take too much memory",
          {{"Retry-After", "1"}}});
  return false;
}

void Connection::deliver() {
  disarm();
  state_ = State::kAnswering;
  request_.body = std::move(parser_->get().body());
  parser_.reset();
  const std::shared_ptr<HttpReply> reply = make_reply(exchange_);
  try {
    core_.handler(std::exchange(request_, {}), reply);
  } catch (const std::exception& error) {
    log_warning("{}: a request failed: {}", exchange_->id, error.what());
    reply->send(500, "application/json",
                error_body({500, "internal_error", "the server failed; its log says why", {}}));
  }
}

// Answers by itself; the connection ends, because the rest of the request is not read.
void Connection::refuse(const Refusal& refusal) {
  if (!exchange_) {
    open_exchange();
    exchange_->id = core_.new_request_id();
  }
  exchange_->refused = true;
  exchange_->keep_alive = false;
  disarm();
  state_ = State::kAnswering;
  send(refusal.status, "application/json", error_body(refusal), refusal.headers);
}

}  // namespace blip2
