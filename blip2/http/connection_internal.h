#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blip2/http/answer_head_internal.h"
#include "blip2/http/core_internal.h"
#include "blip2/http/exchange_internal.h"
#include "blip2/http/request_rules_internal.h"
#include "blip2/http/wire_internal.h"

namespace blip2 {

// One client's connection: reads a request, has it answered, and begins again. All but stop() and
// the constructor runs on the strand of its socket. It reads on while a request is being answered,
// so that it sees the client go; what it reads then is the next request.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(ServerCore& core, WireSocket socket, std::string remote, bool with_tls);

  void start(bool over_limit);
  // Any thread. Closes the connection, whatever it does.
  void stop();
  boost::asio::any_io_executor executor() { return wire_.executor(); }

  // Does the work, on the strand; a connection whose work throws (no memory is left) is closed.
  void step(const std::function<void(Connection&)>& work);

  // For the reply of the exchange that is being answered.
  bool answers(const Exchange& exchange) const { return exchange_.get() == &exchange; }
  void send(int status, std::string_view type, std::string_view body, const HttpHeaders& headers);
  void begin_stream(int status, std::string_view type, const HttpHeaders& headers);
  void write(std::string_view bytes);
  void end_stream();
  void abandon();  // the reply was destroyed before its end

 private:
  enum class State { kHandshake, kIdle, kHeader, kBody, kAnswering, kClosing, kClosed };

  // connection.cpp: the life of the connection, reading, and time limits.
  void begin(bool over_limit);
  void wait_for_request();
  void read();
  void on_read(boost::system::error_code error, std::size_t bytes);
  void watch_hang_up();
  void close_gently();
  void lost();
  void left();
  void close();
  void end_exchange(bool gone);
  void arm(double seconds, void (Connection::*action)());
  void disarm();
  void too_slow();

  // connection_request.cpp: from bytes to the handler.
  void advance();
  void read_header();
  void on_header();
  std::optional<Refusal> why_refused() const;
  bool answer_preflight();
  void read_body();
  bool account_for_body();
  void deliver();
  void open_exchange();
  void refuse(const Refusal& refusal);

  // connection_answer.cpp: from the reply to bytes.
  void start_answer(int status, std::string_view type, const HttpHeaders& headers,
                    const AnswerFrame& frame);
  void flush();
  void on_written(boost::system::error_code error, std::size_t bytes);
  void answered();

  ServerCore& core_;
  Wire wire_;
  const std::string remote_;
  State state_ = State::kHandshake;
  boost::asio::steady_timer timer_, watch_;
  std::uint64_t timer_round_ = 0;  // tells a timer that was set again from one that ran out

  std::vector<char> piece_;  // where a read puts its bytes
  std::string input_;        // read, not yet parsed
  bool reading_ = false, watching_ = false, answered_any_ = false, hung_up_ = false;
  std::optional<RequestParser> parser_;
  // Called by the parser with the length that a chunk's header says.
  std::function<void(std::uint64_t, std::string_view, boost::system::error_code&)> check_chunk_;
  std::size_t header_bytes_ = 0;
  HttpRequest request_;

  std::shared_ptr<Exchange> exchange_;
  std::string output_, writing_;  // waiting, and being written
  std::size_t written_ = 0;       // of writing_
  bool is_writing_ = false;
};

}  // namespace blip2
