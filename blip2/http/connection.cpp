#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <exception>
#include <utility>

#include "blip2/base/log.h"
#include "blip2/http/connection_internal.h"

namespace blip2 {
namespace {

constexpr std::size_t kPiece = 8u << 10, kBodyPiece = 64u << 10;
// How long a client may take to read the last answer and close.
constexpr double kLingerSeconds = 2;
constexpr auto kWatch = std::chrono::milliseconds(100);

std::chrono::steady_clock::duration as_duration(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

}  // namespace

using boost::system::error_code;

Connection::Connection(ServerCore& core, WireSocket socket, std::string remote, bool with_tls)
    : core_(core),
      wire_(std::move(socket), with_tls ? &*core.tls : nullptr),
      remote_(std::move(remote)),
      timer_(wire_.executor()),
      watch_(wire_.executor()) {}

void Connection::start(bool over_limit) {
  core_.counters.update([&](HttpCounts& counts) {
    ++counts.connections;
    ++counts.connections_taken;
    counts.connections_refused += over_limit ? 1 : 0;
  });
  if (core_.stopping) return close();
  arm(core_.options.limits.header_seconds, &Connection::close);
  wire_.handshake([self = shared_from_this(), over_limit](error_code error) {
    if (self->state_ == State::kClosed) return;
    if (error) return self->close();
    self->step([over_limit](Connection& it) { it.begin(over_limit); });
  });
}

void Connection::begin(bool over_limit) {
  wait_for_request();
  if (over_limit) {
    refuse({503, "too_many_connections", "too many connections are open", {{"Retry-After", "1"}}});
  }
  read();
}

void Connection::stop() {
  boost::asio::post(executor(), [self = shared_from_this()] { self->close(); });
}

void Connection::step(const std::function<void(Connection&)>& work) {
  try {
    work(*this);
  } catch (const std::exception& error) {
    log_warning("the connection from {} failed: {}", remote_, error.what());
    close();
  }
}

void Connection::wait_for_request() {
  state_ = State::kIdle;
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(core_.options.limits.header_bytes));
  parser_->body_limit(boost::none);  // what follows, account_for_body() and why_refused() see to it
  check_chunk_ = [this](std::uint64_t size, std::string_view, error_code& error) {
    const std::uint64_t most = core_.options.limits.body_bytes;
    if (size > most || parser_->get().body().size() > most - size) {
      error = boost::beast::http::error::body_limit;
    }
  };
  parser_->on_chunk_header(check_chunk_);
  header_bytes_ = 0;
  const HttpLimits& limits = core_.options.limits;
  arm(answered_any_ ? limits.idle_seconds : limits.header_seconds, &Connection::close);
}

void Connection::read() {
  if (reading_ || state_ == State::kClosed) return;
  if (state_ == State::kAnswering && input_.size() >= core_.options.limits.header_bytes) {
    return watch_hang_up();
  }
  piece_.resize(state_ == State::kBody ? kBodyPiece : kPiece);
  reading_ = true;
  wire_.read_some(boost::asio::buffer(piece_),
                  [self = shared_from_this()](error_code error, std::size_t bytes) {
                    self->reading_ = false;
                    self->step([&](Connection& it) { it.on_read(error, bytes); });
                  });
}

void Connection::on_read(error_code error, std::size_t bytes) {
  if (state_ == State::kClosed) return;
  if (error) return left();
  core_.counters.update([&](HttpCounts& counts) { counts.bytes_in += bytes; });
  if (state_ != State::kClosing) {
    input_.append(piece_.data(), bytes);
    advance();
  }
  read();
}

// The client has sent so much beyond its request that nothing more is read until the answer is
// there, so that its close does not show in a read.
void Connection::watch_hang_up() {
  if (watching_) return;
  watching_ = true;
  watch_.expires_after(kWatch);
  watch_.async_wait([self = shared_from_this()](error_code error) {
    self->watching_ = false;
    if (error || self->state_ == State::kClosed) return;
    if (self->wire_.hung_up()) return self->left();
    self->read();
  });
}

// Closing at once, with bytes of the client unread, would make the system throw the answer away.
void Connection::close_gently() {
  state_ = State::kClosing;
  arm(kLingerSeconds, &Connection::close);
  wire_.shut_down_sending([self = shared_from_this()] { self->close(); });
  read();
}

void Connection::lost() {
  close();
}

// The client has hung up. Whether it has the whole answer, a write that still runs will say.
void Connection::left() {
  hung_up_ = true;
  if (!is_writing_ || !exchange_ || !exchange_->complete) lost();
}

void Connection::close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  disarm();
  watch_.cancel();
  wire_.close();
  core_.open.remove(this);
  core_.counters.update([](HttpCounts& counts) { --counts.connections; });
  if (exchange_) end_exchange(true);
}

// Counts and logs the request, and lets go of its reply.
void Connection::end_exchange(bool gone) {
  const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  core_.body_bytes -= exchange->body_reserved;
  const int status = gone ? 499 : exchange->status;
  const std::chrono::duration<double, std::milli> time =
      std::chrono::steady_clock::now() - exchange->begin;
  core_.log.add({exchange->id, remote_, exchange->method, exchange->path, status, exchange->bytes,
                 time.count()});
  if (!gone) exchange->finish();
  core_.counters.update([&](HttpCounts& counts) {
    ++counts.answers[status];
    counts.refused += exchange->refused ? 1 : 0;
    --counts.running;
  });
  if (gone) exchange->lose();
}

void Connection::arm(double seconds, void (Connection::*action)()) {
  timer_.expires_after(as_duration(seconds));
  timer_.async_wait([self = shared_from_this(), action, round = ++timer_round_](error_code error) {
    if (error || round != self->timer_round_) return;
    self->step([action](Connection& it) { (it.*action)(); });
  });
}

void Connection::disarm() {
  ++timer_round_;
  timer_.cancel();
}

void Connection::too_slow() {
  refuse({408, "request_timeout", "the request did not arrive in time", {}});
}

}  // namespace blip2
