// A server for test_http_server.py: it answers with what it was asked, slowly or without end.
#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "blip2/http/server.h"

namespace {

using Json = nlohmann::json;
using Reply = std::shared_ptr<blip2::HttpReply>;

int number_of(const std::string& query) {
  return query.empty() ? 0 : std::stoi(query);
}

void pause(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

std::string what_was_asked(const blip2::HttpRequest& request) {
  return Json{{"method", request.method},
              {"path", request.path},
              {"query", request.query},
              {"remote", request.remote},
              {"body", request.body.substr(0, 1000)},
              {"body_bytes", request.body.size()},
              {"headers", request.headers},
              {"id", request.request_id}}
      .dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::string counts_text(const blip2::HttpCounts& counts) {
  Json answers = Json::object();
  for (const auto& [status, count] : counts.answers) answers[std::to_string(status)] = count;
  return Json{{"connections", counts.connections},
              {"connections_taken", counts.connections_taken},
              {"connections_refused", counts.connections_refused},
              {"running", counts.running},
              {"refused", counts.refused},
              {"bytes_in", counts.bytes_in},
              {"bytes_out", counts.bytes_out},
              {"answers", answers}}
      .dump();
}

class Echo {
 public:
  void answer(blip2::HttpRequest request, const Reply& reply) {
    const std::string path = request.path;
    if (path == "/throw") throw std::runtime_error("as asked");
    if (path == "/drop") return;
    if (path == "/body")
      return reply->send(200, "application/octet-stream", std::move(request.body));
    if (path == "/large")
      return reply->send(200, "text/plain", std::string(number_of(request.query), 'x'));
    if (path == "/injection")
      return reply->send(200, "text/plain", "", {{"X-Bad", "a\r\nX-Evil: 1"}});
    if (path == "/counts") return reply->send(200, "application/json", counts_text(counts()));
    if (path == "/gone") return reply->send(200, "text/plain", std::to_string(gone_));
    if (path == "/slow") return later([=, this] { slow(number_of(request.query), reply); });
    if (path == "/stream") return later([=, this] { stream(number_of(request.query), reply); });
    if (path == "/broken_stream") return later([=, this] { broken_stream(reply); });
    if (path == "/flood") return later([=, this] { flood(reply); });
    reply->send(200, "application/json", what_was_asked(request));
  }

  std::function<blip2::HttpCounts()> counts;

 private:
  void later(std::function<void()> work) { std::thread(std::move(work)).detach(); }
  void slow(int milliseconds, const Reply& reply) {
    reply->on_gone([this] { ++gone_; });
    pause(milliseconds);
    reply->send(200, "text/plain", "slow");
  }
  void stream(int pieces, const Reply& reply) {
    reply->begin_stream(200, "text/event-stream", {{"X-Stream", "yes"}});
    for (int i = 0; i < pieces; ++i) {
      reply->write("piece " + std::to_string(i) + "\n");
      pause(5);
    }
    reply->end();
    reply->write("after the end");
    reply->send(500, "text/plain", "after the end");
  }
  void broken_stream(const Reply& reply) {
    reply->begin_stream(200, "text/plain");
    reply->write("half");
  }
  void flood(const Reply& reply) {
    reply->on_gone([this] { ++gone_; });
    reply->begin_stream(200, "text/plain");
    while (!reply->gone()) {
      reply->write(std::string(64 << 10, 'x'));
      pause(1);
    }
  }

  std::atomic<int> gone_ = 0;
};

struct Options {
  blip2::HttpOptions http;
  double drain_seconds = 10;
  bool log = false;
};

Options options_of(CLI::App& app, int argc, char** argv) {
  Options options;
  blip2::HttpOptions& http = options.http;
  http.port = 0;
  app.add_option("--host", http.hosts);
  app.add_option("--port", http.port);
  app.add_option("--key", http.api_keys);
  app.add_option("--cors", http.cors_origins);
  app.add_option("--tls-cert", http.tls_cert);
  app.add_option("--tls-key", http.tls_key);
  app.add_option("--threads", http.threads);
  app.add_option("--header-bytes", http.limits.header_bytes);
  app.add_option("--body-bytes", http.limits.body_bytes);
  app.add_option("--bodies-bytes", http.limits.bodies_bytes);
  app.add_option("--header-seconds", http.limits.header_seconds);
  app.add_option("--body-seconds", http.limits.body_seconds);
  app.add_option("--idle-seconds", http.limits.idle_seconds);
  app.add_option("--write-seconds", http.limits.write_seconds);
  app.add_option("--stream-bytes", http.limits.stream_bytes);
  app.add_option("--connections", http.limits.connections);
  app.add_option("--drain-seconds", options.drain_seconds);
  app.add_flag("--log", options.log);
  app.parse(argc, argv);
  if (options.log) {
    http.log = [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); };
  }
  return options;
}

void serve(const Options& options) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  static Echo echo;  // its threads are not waited for
  blip2::HttpServer server(options.http, [](blip2::HttpRequest request, const Reply& reply) {
    echo.answer(std::move(request), reply);
  });
  echo.counts = [&server] { return server.counts(); };
  for (const std::string& address : server.addresses()) std::printf("%s\n", address.c_str());
  std::printf("\n");
  std::fflush(stdout);
  const std::jthread drain([&] {
    int signal = 0;
    sigwait(&signals, &signal);
    server.drain(options.drain_seconds);
  });
  server.run();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app;
  try {
    serve(options_of(app, argc, argv));
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "http_echo: %s\n", error.what());
    return 1;
  }
}
