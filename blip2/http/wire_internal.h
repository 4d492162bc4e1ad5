#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>

namespace blip2 {

using WireSocket = boost::asio::generic::stream_protocol::socket;
using WireEndpoint = boost::asio::generic::stream_protocol::endpoint;

// "127.0.0.1:4711", "[::1]:4711"; "unix" for a unix socket.
std::string endpoint_text(const WireEndpoint& endpoint);

// A connection's socket, with or without TLS. To be used from one strand; at most one read and one
// write at a time. It must live until all callbacks have come.
class Wire {
 public:
  using Done = std::function<void(boost::system::error_code, std::size_t bytes)>;

  // TLS if there is a context, which must outlive it.
  Wire(WireSocket socket, boost::asio::ssl::context* tls);

  void handshake(std::function<void(boost::system::error_code)> done);  // at once without TLS
  void read_some(boost::asio::mutable_buffer into, Done done);
  void write_some(boost::asio::const_buffer from, Done done);
  // Says that nothing more will be sent, without waiting for the client.
  void shut_down_sending(std::function<void()> done);
  // Ends all that is pending with an error.
  void close();
  // Whether the client has closed its side, even if there are bytes left to read.
  bool hung_up();
  boost::asio::any_io_executor executor() { return socket_.get_executor(); }

 private:
  WireSocket socket_;
  std::optional<boost::asio::ssl::stream<WireSocket&>> tls_;
};

}  // namespace blip2
