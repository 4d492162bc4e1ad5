#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "blip2/http/options.h"

namespace blip2 {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// A whole request, within the limits.
struct HttpRequest {
  std::string method;  // as sent: "GET", "POST", "HEAD", ...
  std::string path;    // begins with '/', percent signs as sent
  std::string query;   // what follows '?', without it
  std::string body;
  std::string remote;      // "127.0.0.1:4711", "[::1]:4711" or "unix"
  std::string request_id;  // the client's X-Request-Id if it is 1 to 128 printable characters of
                           // ASCII without a space, or else ours; every answer carries it
  HttpHeaders headers;     // names in lower case, in the order sent

  // The first header of this name (in lower case), "" if there is none.
  const std::string& header(const std::string& name) const;
};

// Answers one request: send() once, or begin_stream(), any number of write() and end(). Any thread
// may call it, also after the client has gone: then the calls do nothing. A reply that is destroyed
// before its end answers 500, or breaks the stream off. The answer to HEAD is sent without its
// body. Line breaks in header values become spaces.
class HttpReply {
 public:
  virtual ~HttpReply() = default;

  virtual void send(int status, std::string content_type, std::string body,
                    HttpHeaders headers = {}) = 0;
  // Chunks for HTTP/1.1; for HTTP/1.0 the end of the connection ends the stream.
  virtual void begin_stream(int status, std::string content_type, HttpHeaders headers = {}) = 0;
  // A piece of the stream. Never blocks: a client that leaves more than HttpLimits::stream_bytes
  // unread is dropped.
  virtual void write(std::string bytes) = 0;
  virtual void end() = 0;
  // Whether the client closed the connection, or the server did, before the answer's end. A client
  // that shuts down only its sending side counts as gone.
  virtual bool gone() const = 0;
  // The action is called once, on an I/O thread, within 250 ms of the client's close, or at once if
  // the client has gone already; it is dropped when the answer has ended. It must not block.
  virtual void on_gone(std::function<void()> action) = 0;
};

// Called on an I/O thread once the request is there; it must return at once and may keep the reply.
// An exception becomes status 500.
using HttpHandler = std::function<void(HttpRequest, std::shared_ptr<HttpReply>)>;

// Since the server began.
struct HttpCounts {
  std::uint64_t connections = 0;          // open now
  std::uint64_t connections_taken = 0;    // accepted
  std::uint64_t connections_refused = 0;  // over the limit
  std::uint64_t running = 0;              // requests whose header is there and that have not ended
  std::map<int, std::uint64_t> answers;   // requests that have ended, by status; 499: client left
  std::uint64_t refused = 0;              // of them, those that never reached the handler
  std::uint64_t bytes_in = 0, bytes_out = 0;  // as HTTP, before TLS
};

// An HTTP/1.1 server with keep-alive and TLS. What it refuses itself (no key, too large, malformed,
// too slow, draining) it answers in OpenAI's form: {"error": {"message", "type", "code", "param"}}.
// SIGPIPE is ignored from the first server on, and the process's limit on open files is raised to
// what the connections need; if that is not allowed, fewer connections are. Any thread may call its
// functions.
class HttpServer {
 public:
  // Binds. Error naming the address if it is taken, the files if certificate and key do not fit, or
  // the option that makes no sense.
  HttpServer(HttpOptions options, HttpHandler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // "http://127.0.0.1:8000", "https://[::1]:8000", "unix:/run/blip2.sock".
  std::vector<std::string> addresses() const;
  // Accepts and answers, on its own threads, until stop(); call it once.
  void run();
  // Accepts no more connections, answers 503 to new requests on open ones, waits until the requests
  // that run have been answered, but at most this many seconds, and stops. Blocks; not for a
  // handler.
  void drain(double seconds);
  // Closes everything; run() returns soon after. Before run(), run() will return at once.
  void stop();
  HttpCounts counts() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace blip2
