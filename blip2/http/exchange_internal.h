#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "blip2/http/server.h"

namespace blip2 {

class Connection;

// One request and its answer, shared by the connection and the reply. It knows its connection only
// until the answer has ended or the client has gone, so that a reply that is kept longer keeps
// neither socket nor server.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  explicit Exchange(std::shared_ptr<Connection> connection);

  // What the answer needs to know of the request; fixed before the reply exists.
  std::string id, method, path;
  int version = 11;
  bool keep_alive = true;
  HttpHeaders headers;  // that every answer carries: X-Request-Id, CORS
  const std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();

  // On the connection's strand only.
  int status = 0;                   // 0: the answer has not begun
  bool chunked = false;             // its body comes in chunks
  bool complete = false;            // the last byte is in the write buffer
  bool refused = false;             // the server answered by itself
  std::uint64_t bytes = 0;          // of the answer, written
  std::uint64_t body_reserved = 0;  // of HttpLimits::bodies_bytes

  bool is_head() const { return method == "HEAD"; }

  // Any thread. Does the work on the connection's strand, unless the exchange is over by then.
  void post(std::function<void(Connection&)> work);
  bool gone() const { return gone_; }
  void on_gone(std::function<void()> action);

  // On the strand. The answer has ended.
  void finish();
  // On the strand. The client, or the connection, has gone before.
  void lose();

 private:
  std::mutex mutex_;  // of the two members below
  std::shared_ptr<Connection> connection_;
  std::function<void()> action_;
  std::atomic<bool> gone_ = false;
};

// The reply that answers the exchange.
std::shared_ptr<HttpReply> make_reply(std::shared_ptr<Exchange> exchange);

}  // namespace blip2
