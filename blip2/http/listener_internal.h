#pragma once

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "blip2/http/core_internal.h"
#include "blip2/http/wire_internal.h"

namespace blip2 {

// Where to listen: an address, or a unix socket's path.
struct ListenPlace {
  WireEndpoint endpoint;
  std::filesystem::path path;  // of the unix socket, else empty
};

// The places that the options name: every address of a name, each once. Error naming a host that is
// not known.
std::vector<ListenPlace> listen_places(ServerCore& core);

// Accepts connections at one place. It outlives the threads that run the core's context.
class Listener {
 public:
  // Binds. Error naming the address.
  Listener(ServerCore& core, const ListenPlace& place);
  ~Listener();  // removes the unix socket's file
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  void start();
  void close();  // any thread
  std::string address() const;

 private:
  using Acceptor = boost::asio::basic_socket_acceptor<boost::asio::generic::stream_protocol>;
  bool is_unix() const { return !path_.empty(); }
  void bind(const ListenPlace& place);
  void accept();
  void on_accept(boost::system::error_code error, WireSocket socket);
  void try_to_take(WireSocket socket);
  void take(WireSocket socket);

  ServerCore& core_;
  const std::filesystem::path path_;
  Acceptor acceptor_;
  boost::asio::steady_timer pause_;
  bool failing_ = false;
};

}  // namespace blip2
