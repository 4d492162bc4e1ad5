#include "blip2/http/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "blip2/base/message_of.h"
#include "blip2/http/client_test.h"

namespace blip2 {
namespace {

using testing::Contains;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Reply = std::shared_ptr<HttpReply>;

std::uint16_t port_of(const HttpServer& server) {
  const std::string address = server.addresses().at(0);
  return static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
}

HttpOptions any_port() {
  HttpOptions options;
  options.port = 0;
  return options;
}

// Answers with the path; what it is told to keep, it leaves to the test.
void say_path(const HttpRequest& request, const Reply& reply) {
  reply->send(200, "text/plain", request.path + request.body);
}

// A server on its own thread.
struct Running {
  explicit Running(HttpOptions options = any_port(), HttpHandler handler = say_path)
      : server(std::move(options), std::move(handler)), thread([this] { server.run(); }) {}
  ~Running() { server.stop(); }
  std::uint16_t port() const { return port_of(server); }

  HttpServer server;
  std::jthread thread;
};

// A handler that keeps the replies.
struct Kept {
  HttpHandler handler() {
    return [this](const HttpRequest& request, Reply reply) {
      const std::lock_guard lock(mutex);
      requests.push_back(request);
      replies.push_back(std::move(reply));
      came.notify_all();
    };
  }
  Reply wait_for(std::size_t count) {
    std::unique_lock lock(mutex);
    came.wait_for(lock, std::chrono::seconds(60), [&] { return replies.size() >= count; });
    return replies.at(count - 1);
  }
  std::mutex mutex;
  std::condition_variable came;
  std::vector<HttpRequest> requests;
  std::vector<Reply> replies;
};

std::string get(const std::string& path, const std::string& headers = {}) {
  return "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n";
}

// How soon a handler is told that its client closed, which had sent so many requests: the shortest
// time of a few tries, as the machine may be busy with other things.
constexpr std::size_t kGoodbyes = 5;
std::chrono::steady_clock::duration quickest_goodbye(std::uint16_t port, Kept& kept, int requests) {
  auto shortest = std::chrono::steady_clock::duration::max();
  for (std::size_t i = 1; i <= kGoodbyes; ++i) {
    RawClient client(port);
    for (int sent = 0; sent < requests; ++sent) client.send(get("/s"));
    const Reply reply = kept.wait_for(i);
    std::promise<void> gone;
    reply->on_gone([&] { gone.set_value(); });
    EXPECT_FALSE(reply->gone());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // in which it reads what it reads
    const auto begin = std::chrono::steady_clock::now();
    client.close();
    gone.get_future().wait();
    shortest = std::min(shortest, std::chrono::steady_clock::now() - begin);
  }
  return shortest;
}

TEST(HttpServer, AnswersSeveralRequestsOnOneConnection) {
  Running running;
  RawClient client(running.port());
  for (const char* path : {"/a", "/b", "/c"}) {
    client.send(get(path));
    EXPECT_THAT(client.receive(), EndsWith(std::string("\r\n\r\n") + path));
  }
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  Running running;
  RawClient client(running.port());
  client.send(get("/a") + "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody" +
              get("/c"));
  EXPECT_THAT(client.receive(), EndsWith("/a"));
  EXPECT_THAT(client.receive(), EndsWith("/bbody"));
  EXPECT_THAT(client.receive(), EndsWith("/c"));
}

TEST(HttpServer, ReadsARequestThatComesByteByByte) {
  Running running;
  RawClient client(running.port());
  for (const char c :
       "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
       "3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nTrailer: t\r\n\r\n") {
    if (c != '\0') client.send(std::string(1, c));
  }
  EXPECT_THAT(client.receive(), EndsWith("\r\n\r\n/aabcd"));
}

TEST(HttpServer, RefusesAChunkBeyondTheLimitBeforeItComes) {
  Running running;
  RawClient client(running.port());
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\n{}");
  EXPECT_THAT(client.receive(), StartsWith("HTTP/1.1 413 "));
}

TEST(HttpServer, GivesTheRequestWhole) {
  Kept kept;
  Running running(any_port(), kept.handler());
  RawClient client(running.port());
  client.send(
      "PUT http://host/p/%20?q=1?2 HTTP/1.1\r\nHOST: host\r\nX-Two: a\r\nx-two: b\r\n"
      "X-Request-Id: mine\r\nContent-Length: 3\r\n\r\nabc");
  kept.wait_for(1)->send(200, "text/plain", "");
  const HttpRequest& request = kept.requests[0];
  EXPECT_EQ(request.method, "PUT");
  EXPECT_EQ(request.path, "/p/%20");
  EXPECT_EQ(request.query, "q=1?2");
  EXPECT_EQ(request.body, "abc");
  EXPECT_EQ(request.request_id, "mine");
  EXPECT_THAT(request.remote, StartsWith("127.0.0.1:"));
  EXPECT_THAT(request.headers, Contains(std::pair<std::string, std::string>("x-two", "a")));
  EXPECT_THAT(request.headers, Contains(std::pair<std::string, std::string>("x-two", "b")));
  EXPECT_EQ(request.header("x-two"), "a");
  EXPECT_EQ(request.header("none"), "");
  EXPECT_THAT(client.receive(), HasSubstr("X-Request-Id: mine\r\n"));
}

TEST(HttpServer, StreamsInChunksAndGoesOn) {
  Kept kept;
  Running running(any_port(), kept.handler());
  RawClient client(running.port());
  client.send(get("/s"));
  const Reply reply = kept.wait_for(1);
  reply->begin_stream(200, "text/plain");
  reply->write("one");
  EXPECT_THAT(client.receive_until("one\r\n"), HasSubstr("Transfer-Encoding: chunked\r\n"));
  reply->write("");
  reply->write("twotwotwotwotwotwo");
  reply->end();
  EXPECT_EQ(client.receive_until("0\r\n\r\n"), "12\r\ntwotwotwotwotwotwo\r\n0\r\n\r\n");
  client.send(get("/t"));
  kept.wait_for(2)->send(404, "text/plain", "none");
  EXPECT_THAT(client.receive(), StartsWith("HTTP/1.1 404 Not Found\r\n"));
}

TEST(HttpServer, TellsWhenTheClientGoes) {
  Kept kept;
  Running running(any_port(), kept.handler());
  EXPECT_LT(quickest_goodbye(running.port(), kept, 1), std::chrono::milliseconds(250));
  const Reply reply = kept.replies.back();
  EXPECT_TRUE(reply->gone());
  bool at_once = false;
  reply->on_gone([&] { at_once = true; });
  EXPECT_TRUE(at_once);
  reply->send(200, "text/plain", "nobody reads it");
  EXPECT_EQ(running.server.counts().answers.at(499), kGoodbyes);
}

TEST(HttpServer, TellsWhenAClientGoesThatHasPipelinedMuch) {
  Kept kept;
  Running running(any_port(), kept.handler());
  EXPECT_LT(quickest_goodbye(running.port(), kept, 2000), std::chrono::milliseconds(250));
}

TEST(HttpServer, DropsAnActionWhoseAnswerHasEnded) {
  Kept kept;
  Running running(any_port(), kept.handler());
  RawClient client(running.port());
  client.send(get("/s"));
  const auto held = std::make_shared<int>(0);
  bool called = false;
  kept.wait_for(1)->on_gone([held, &called] { called = true; });
  kept.wait_for(1)->send(200, "text/plain", "done");
  EXPECT_THAT(client.receive(), EndsWith("done"));
  client.close();
  running.server.drain(60);
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(called);
}

TEST(HttpServer, AnswersForAHandlerThatFails) {
  Running running(any_port(), [](const HttpRequest& request, const Reply&) {
    if (request.path == "/throw") throw std::runtime_error("secret");
  });
  for (const char* path : {"/throw", "/forget"}) {
    RawClient client(running.port());
    client.send(get(path));
    const std::string answer = client.receive();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 500 Internal Server Error\r\n"));
    EXPECT_THAT(answer, HasSubstr("\"server_error\""));
    EXPECT_THAT(answer, Not(HasSubstr("secret")));
  }
}

TEST(HttpServer, DrainEndsWhatRunsAndRefusesWhatComes) {
  Kept kept;
  Running running(any_port(), kept.handler());
  RawClient busy(running.port()), idle(running.port());
  idle.send(get("/early"));
  kept.wait_for(1)->send(200, "text/plain", "early");
  EXPECT_THAT(idle.receive(), EndsWith("early"));
  busy.send(get("/s"));
  const Reply reply = kept.wait_for(2);
  auto drained = std::async(std::launch::async, [&] { running.server.drain(60); });
  while (true) {  // until it drains, new connections are taken
    try {
      RawClient{running.port()};
    } catch (const std::runtime_error&) {
      break;
    }
  }
  idle.send(get("/late"));
  const std::string refused = idle.receive();
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(refused, HasSubstr("Connection: close\r\n"));
  reply->send(200, "text/plain", "the last one");
  EXPECT_THAT(busy.receive_all(), EndsWith("the last one"));
  drained.get();
  running.thread.join();
  EXPECT_EQ(running.server.counts().running, 0u);
  EXPECT_EQ(running.server.counts().connections, 0u);
}

TEST(HttpServer, DrainWaitsNoLongerThanItMay) {
  Kept kept;
  Running running(any_port(), kept.handler());
  RawClient busy(running.port());
  busy.send(get("/s"));
  const Reply reply = kept.wait_for(1);
  running.server.drain(0.1);
  running.thread.join();
  EXPECT_TRUE(reply->gone());
  reply->send(200, "text/plain", "too late");
}

TEST(HttpServer, ARepliesOwnerMayOutliveTheServer) {
  Kept kept;
  {
    Running running(any_port(), kept.handler());
    RawClient client(running.port());
    client.send(get("/s"));
    kept.wait_for(1);
  }
  kept.replies[0]->write("x");
  EXPECT_TRUE(kept.replies[0]->gone());
  kept.replies.clear();
}

TEST(HttpServer, StopBeforeRunEndsRun) {
  HttpServer server(any_port(), say_path);
  server.stop();
  server.run();
}

TEST(HttpServer, NamesAnAddressThatIsTaken) {
  HttpServer first(any_port(), say_path);
  HttpOptions options;
  options.port = port_of(first);
  EXPECT_THAT(message_of([&] { HttpServer(options, say_path); }),
              StartsWith("127.0.0.1:" + std::to_string(options.port) + ": the address is taken"));
}

TEST(HttpServer, ListensAtSeveralPlaces) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("blip2_http_server_test_" + std::to_string(::getpid()) + ".sock");
  HttpOptions options = any_port();
  options.hosts = {"127.0.0.1", "localhost", path.string()};
  {
    HttpServer server(options, say_path);
    EXPECT_THAT(server.addresses(), Contains(StartsWith("http://127.0.0.1:")));
    EXPECT_THAT(server.addresses(), Contains("unix:" + path.string()));
    EXPECT_THAT(message_of([&] { HttpServer(options, say_path); }), HasSubstr("is taken"));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(HttpServer, RefusesOptionsThatMakeNoSense) {
  const auto refused = [](auto change) {
    HttpOptions options = any_port();
    change(options);
    return message_of([&] { HttpServer(options, say_path); });
  };
  EXPECT_THAT(refused([](HttpOptions& o) { o.hosts = {}; }), HasSubstr("no address"));
  EXPECT_THAT(refused([](HttpOptions& o) { o.hosts = {"no.such.host.invalid"}; }),
              StartsWith("no.such.host.invalid: the host is not known"));
  EXPECT_THAT(refused([](HttpOptions& o) { o.api_keys = {"a b"}; }), HasSubstr("API keys"));
  EXPECT_THAT(refused([](HttpOptions& o) { o.cors_origins = {"example.org"}; }),
              StartsWith("CORS origin example.org"));
  EXPECT_THAT(refused([](HttpOptions& o) { o.limits.idle_seconds = 0; }), HasSubstr("time limit"));
  EXPECT_THAT(refused([](HttpOptions& o) { o.tls_cert = "/none.pem"; }), HasSubstr("together"));
  EXPECT_THAT(refused([](HttpOptions& o) { o.tls_cert = o.tls_key = "/none.pem"; }),
              HasSubstr("/none.pem"));
}

TEST(HttpServer, CountsAndLogsEachRequest) {
  std::mutex mutex;
  std::vector<nlohmann::json> lines;
  HttpOptions options = any_port();
  options.log = [&](const std::string& line) {
    const std::lock_guard lock(mutex);
    lines.push_back(nlohmann::json::parse(line));
  };
  Running running(options);
  RawClient client(running.port());
  client.send(get("/a?secret=1", "X-Request-Id: one\r\n"));
  client.receive();
  client.send("nonsense\r\n\r\n");
  EXPECT_THAT(client.receive_all(), StartsWith("HTTP/1.1 400 "));
  running.server.drain(60);
  const HttpCounts counts = running.server.counts();
  EXPECT_EQ(counts.answers, (std::map<int, std::uint64_t>{{200, 1}, {400, 1}}));
  EXPECT_EQ(counts.refused, 1u);
  EXPECT_GT(counts.bytes_out, 200u);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["id"], "one");
  EXPECT_EQ(lines[0]["method"], "GET");
  EXPECT_EQ(lines[0]["path"], "/a");
  EXPECT_EQ(lines[0]["status"], 200);
  EXPECT_EQ(lines[1]["status"], 400);
  EXPECT_EQ(lines[0]["bytes"].get<std::uint64_t>() + lines[1]["bytes"].get<std::uint64_t>(),
            counts.bytes_out);
}

}  // namespace
}  // namespace blip2
