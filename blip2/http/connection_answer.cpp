#include <boost/asio/buffer.hpp>
#include <string_view>
#include <utility>

#include "blip2/http/connection_internal.h"

namespace blip2 {
namespace {

constexpr std::size_t kKeptBuffer = 64u << 10;

// Frees what an unusual request has made large; idle connections should be small.
template <typename Buffer>
void shrink(Buffer& buffer) {
  if (buffer.capacity() > kKeptBuffer) Buffer().swap(buffer);
}

}  // namespace

using boost::system::error_code;

void Connection::start_answer(int status, std::string_view type, const HttpHeaders& headers,
                              const AnswerFrame& frame) {
  HttpHeaders all = exchange_->headers;
  all.emplace_back("X-Request-Id", exchange_->id);
  all.insert(all.end(), headers.begin(), headers.end());
  exchange_->status = status;
  output_ += answer_head(status, type, all, frame);
}

void Connection::send(int status, std::string_view type, std::string_view body,
                      const HttpHeaders& headers) {
  if (exchange_->status != 0) return;
  exchange_->keep_alive = exchange_->keep_alive && !core_.draining;
  start_answer(status, type, headers,
               {false, body.size(), exchange_->keep_alive, exchange_->version});
  if (!exchange_->is_head() && !without_body(status)) output_ += body;
  exchange_->complete = true;
  flush();
}

void Connection::begin_stream(int status, std::string_view type, const HttpHeaders& headers) {
  if (exchange_->status != 0) return;
  exchange_->chunked = exchange_->version == 11;
  exchange_->keep_alive = exchange_->keep_alive && exchange_->chunked && !core_.draining;
  start_answer(status, type, headers,
               {exchange_->chunked, std::nullopt, exchange_->keep_alive, exchange_->version});
  flush();
}

void Connection::write(std::string_view bytes) {
  if (exchange_->status == 0 || exchange_->complete || exchange_->is_head() || bytes.empty())
    return;
  output_ += exchange_->chunked ? as_chunk(bytes) : std::string(bytes);
  if (output_.size() + writing_.size() - written_ > core_.options.limits.stream_bytes) {
    return lost();
  }
  flush();
}

void Connection::end_stream() {
  if (exchange_->status == 0 || exchange_->complete) return;
  if (exchange_->chunked && !exchange_->is_head()) output_ += as_chunk({});
  exchange_->complete = true;
  flush();
}

void Connection::abandon() {
  if (exchange_->complete) return;
  if (exchange_->status != 0) return close();  // a stream that breaks off must not look whole
  send(500, "application/json",
       error_body({500, "internal_error", "the server gave no answer", {}}), {});
}

void Connection::flush() {
  if (is_writing_) return;
  if (written_ == writing_.size()) {
    writing_.clear();
    written_ = 0;
    if (output_.empty()) {
      if (state_ == State::kAnswering && exchange_ && exchange_->complete) answered();
      return;
    }
    writing_.swap(output_);
  }
  is_writing_ = true;
  if (state_ == State::kAnswering) arm(core_.options.limits.write_seconds, &Connection::lost);
  wire_.write_some(boost::asio::buffer(writing_) + written_,
                   [self = shared_from_this()](error_code error, std::size_t bytes) {
                     self->is_writing_ = false;
                     self->step([&](Connection& it) { it.on_written(error, bytes); });
                   });
}

void Connection::on_written(error_code error, std::size_t bytes) {
  if (state_ == State::kClosed) return;
  if (error) return lost();
  written_ += bytes;
  if (exchange_) exchange_->bytes += bytes;
  core_.counters.update([&](HttpCounts& counts) { counts.bytes_out += bytes; });
  if (state_ == State::kAnswering) disarm();
  flush();
}

// The last byte is with the system.
void Connection::answered() {
  const bool keep_alive = exchange_->keep_alive;
  end_exchange(false);
  answered_any_ = true;
  shrink(writing_);
  shrink(input_);
  if (!reading_) shrink(piece_);
  if (hung_up_) return close();
  if (!keep_alive || core_.stopping) return close_gently();
  wait_for_request();
  advance();
  read();
}

}  // namespace blip2
