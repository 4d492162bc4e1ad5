#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "blip2/http/access_internal.h"
#include "blip2/http/counters_internal.h"
#include "blip2/http/request_log_internal.h"
#include "blip2/http/server.h"

namespace blip2 {

class Connection;

// The connections that are open. Any thread may call it.
class OpenConnections {
 public:
  std::size_t add(const std::shared_ptr<Connection>& connection);  // how many there are then
  void remove(const Connection* connection);
  std::vector<std::shared_ptr<Connection>> all() const;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<const Connection*, std::weak_ptr<Connection>> open_;
};

// As many as the process's limit on open files allows.
struct ConnectionLimits {
  std::size_t served;  // more are told that there are too many
  std::size_t open;    // more are closed at once
};

// What listeners and connections share; outlives them.
struct ServerCore {
  // Error for options that make no sense.
  ServerCore(HttpOptions options, HttpHandler handler);

  const HttpOptions options;
  const HttpHandler handler;
  const KeyRing keys;
  const CorsRules cors;
  std::optional<boost::asio::ssl::context> tls;
  const ConnectionLimits connection_limits;
  RequestLog log;
  Counters counters;
  OpenConnections open;
  std::atomic<std::uint64_t> body_bytes = 0;  // of all requests that run
  std::atomic<bool> draining = false, stopping = false;
  boost::asio::io_context io;

  std::string new_request_id();

 private:
  const std::uint64_t id_seed_;
  std::atomic<std::uint64_t> ids_ = 0;
};

}  // namespace blip2
