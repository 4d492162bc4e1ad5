#include "blip2/http/server.h"

#include <boost/asio/executor_work_guard.hpp>
#include <chrono>
#include <csignal>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "blip2/base/log.h"
#include "blip2/http/connection_internal.h"
#include "blip2/http/core_internal.h"
#include "blip2/http/listener_internal.h"

namespace blip2 {
namespace {

// Runs the context until it has no work left, whatever a callback throws.
void run_context(boost::asio::io_context& io) {
  for (;;) {
    try {
      io.run();
      return;
    } catch (const std::exception& error) {
      log_warning("the HTTP server: {}", error.what());
    }
  }
}

}  // namespace

struct HttpServer::Parts {
  Parts(HttpOptions options, HttpHandler handler)
      : core(std::move(options), std::move(handler)), work(core.io.get_executor()) {}

  void listen() {
    for (const ListenPlace& place : listen_places(core)) {
      listeners.push_back(std::make_unique<Listener>(core, place));
      addresses.push_back(listeners.back()->address());
    }
  }
  void stop_listening() {
    for (const auto& listener : listeners) listener->close();
  }

  ServerCore core;
  std::vector<std::unique_ptr<Listener>> listeners;
  std::vector<std::string> addresses;
  std::mutex stopping;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
};

HttpServer::HttpServer(HttpOptions options, HttpHandler handler) {
  std::signal(SIGPIPE, SIG_IGN);
  parts_ = std::make_unique<Parts>(std::move(options), std::move(handler));
  parts_->listen();
}

HttpServer::~HttpServer() = default;

std::vector<std::string> HttpServer::addresses() const {
  return parts_->addresses;
}

void HttpServer::run() {
  for (const auto& listener : parts_->listeners) listener->start();
  std::vector<std::jthread> threads;
  for (int i = 0; i < parts_->core.options.threads; ++i) {
    threads.emplace_back([this] { run_context(parts_->core.io); });
  }
}

void HttpServer::drain(double seconds) {
  parts_->core.draining = true;
  parts_->stop_listening();
  parts_->core.counters.wait_until_idle(std::chrono::duration<double>(seconds));
  stop();
}

void HttpServer::stop() {
  const std::lock_guard lock(parts_->stopping);
  parts_->core.stopping = true;
  parts_->stop_listening();
  for (const auto& connection : parts_->core.open.all()) connection->stop();
  parts_->work.reset();
}

HttpCounts HttpServer::counts() const {
  return parts_->core.counters.read();
}

}  // namespace blip2
