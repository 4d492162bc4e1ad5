#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace blip2 {

// What a client may take up. A request beyond a limit is refused with the status beside it.
struct HttpLimits {
  std::size_t header_bytes = 16u << 10;   // request line and header together: 431
  std::uint64_t body_bytes = 64u << 20;   // one request's body: 413
  std::uint64_t bodies_bytes = 1u << 30;  // the bodies of all requests that run: 503
  double header_seconds = 10;  // from a request's first byte to its header's end: 408; from the
                               // connection to its first request's first byte: it is closed
  double body_seconds = 120;   // from the header's end to the body's: 408
  double idle_seconds = 60;    // between two requests: the connection is closed
  double write_seconds = 30;   // without a byte taken: the connection is closed
  std::size_t stream_bytes = 4u << 20;  // of a stream, not yet taken: the connection is closed
  std::size_t connections = 4096;       // open at once: 503
};

struct HttpOptions {
  // Addresses (IPv4, IPv6), names, or paths of unix sockets, which end in ".sock".
  std::vector<std::string> hosts = {"127.0.0.1"};
  std::uint16_t port = 8000;  // 0: the system chooses one for each address
  // Keys of which a request must carry one, as "Authorization: Bearer KEY" or "X-API-Key: KEY";
  // none: every request may come.
  std::vector<std::string> api_keys;
  // What GET and HEAD may ask for without a key.
  std::vector<std::string> open_paths = {"/health"};
  // Origins whose pages may read answers ("https://example.org"); "*" means every origin.
  std::vector<std::string> cors_origins;
  // PEM files of the certificate (with its chain) and its key: both or neither. Unix sockets speak
  // without TLS.
  std::filesystem::path tls_cert, tls_key;
  int threads = 2;
  HttpLimits limits;
  // Takes one JSON object, without a line break, for each request that has ended: time, id, remote,
  // method, path, status (499: the client left before it had the answer), bytes of the answer,
  // milliseconds. Called on the I/O threads, one call at a time; it must not block.
  std::function<void(const std::string& line)> log;
};

}  // namespace blip2
