#include <poll.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <cstring>
#include <utility>

#include "blip2/http/wire_internal.h"

namespace blip2 {

namespace asio = boost::asio;
using boost::system::error_code;

std::string endpoint_text(const WireEndpoint& endpoint) {
  const int family = endpoint.protocol().family();
  if (family != AF_INET && family != AF_INET6) return "unix";
  asio::ip::tcp::endpoint ip;
  ip.resize(endpoint.size());
  std::memcpy(ip.data(), endpoint.data(), endpoint.size());
  const std::string address = ip.address().to_string();
  const std::string port = std::to_string(ip.port());
  return family == AF_INET ? address + ":" + port : "[" + address + "]:" + port;
}

Wire::Wire(WireSocket socket, asio::ssl::context* tls) : socket_(std::move(socket)) {
  if (tls) tls_.emplace(socket_, *tls);
}

void Wire::handshake(std::function<void(error_code)> done) {
  if (tls_) return tls_->async_handshake(asio::ssl::stream_base::server, std::move(done));
  asio::post(executor(), [done = std::move(done)] { done({}); });
}

void Wire::read_some(asio::mutable_buffer into, Done done) {
  if (tls_) return tls_->async_read_some(into, std::move(done));
  socket_.async_read_some(into, std::move(done));
}

void Wire::write_some(asio::const_buffer from, Done done) {
  if (tls_) return tls_->async_write_some(from, std::move(done));
  socket_.async_write_some(from, std::move(done));
}

void Wire::shut_down_sending(std::function<void()> done) {
  if (tls_) return tls_->async_shutdown([done = std::move(done)](error_code) { done(); });
  error_code ignored;
  socket_.shutdown(WireSocket::shutdown_send, ignored);
}

void Wire::close() {
  error_code ignored;
  socket_.close(ignored);
}

bool Wire::hung_up() {
  pollfd state{socket_.native_handle(), POLLRDHUP, 0};
  return ::poll(&state, 1, 0) > 0;
}

}  // namespace blip2
