#include "blip2/http/listener_internal.h"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <chrono>
#include <exception>
#include <system_error>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/http/connection_internal.h"

namespace blip2 {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr int kBacklog = 1024;
constexpr auto kPause = std::chrono::milliseconds(100);

asio::any_io_executor new_strand(ServerCore& core) {
  return asio::any_io_executor(asio::make_strand(core.io));
}

bool names_socket(const std::string& host) {
  return host.ends_with(".sock");
}

ListenPlace socket_place(const std::string& path) {
  try {
    return {asio::local::stream_protocol::endpoint(path), path};
  } catch (const boost::system::system_error& error) {
    throw Error("the path of the socket is too long", path);
  }
}

void add_place(const tcp::endpoint& endpoint, std::vector<ListenPlace>& places) {
  const bool known = std::any_of(places.begin(), places.end(), [&](const ListenPlace& place) {
    return place.endpoint == WireEndpoint(endpoint);
  });
  if (!known) places.push_back({endpoint, {}});
}

void add_addresses(ServerCore& core, std::string host, std::vector<ListenPlace>& places) {
  need(!host.empty(), "an address to listen at is empty", "HTTP server");
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  error_code error;
  const auto literal = asio::ip::make_address(host, error);
  if (!error) return add_place(tcp::endpoint(literal, core.options.port), places);
  // "configured": a name's IPv6 address is of no use where the machine has none.
  const auto flags =
      tcp::resolver::passive | tcp::resolver::numeric_service | tcp::resolver::address_configured;
  tcp::resolver resolver(core.io);
  const auto found = resolver.resolve(host, std::to_string(core.options.port), flags, error);
  if (error) throw Error("the host is not known (" + error.message() + ")", host);
  for (const auto& entry : found) add_place(entry.endpoint(), places);
}

// A socket's file that no server listens at any more stays behind when a server is killed.
void remove_stale_socket(ServerCore& core, const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_socket(path, ignored)) return;
  asio::local::stream_protocol::socket probe(core.io);
  error_code error;
  probe.connect(asio::local::stream_protocol::endpoint(path.string()), error);
  if (error == asio::error::connection_refused) std::filesystem::remove(path, ignored);
}

std::string place_text(const ListenPlace& place) {
  return place.path.empty() ? endpoint_text(place.endpoint) : place.path.string();
}

}  // namespace

std::vector<ListenPlace> listen_places(ServerCore& core) {
  std::vector<ListenPlace> places;
  for (const std::string& host : core.options.hosts) {
    if (names_socket(host)) {
      places.push_back(socket_place(host));
    } else {
      add_addresses(core, host, places);
    }
  }
  return places;
}

Listener::Listener(ServerCore& core, const ListenPlace& place)
    : core_(core),
      path_(place.path),
      acceptor_(new_strand(core)),
      pause_(acceptor_.get_executor()) {
  try {
    bind(place);
  } catch (const boost::system::system_error& error) {
    const bool taken = error.code() == asio::error::address_in_use;
    throw Error(taken ? "the address is taken" : "cannot listen: " + error.code().message(),
                place_text(place),
                taken ? "end the program that listens there, or choose another one" : "");
  }
}

void Listener::bind(const ListenPlace& place) {
  acceptor_.open(place.endpoint.protocol());
  if (is_unix()) {
    remove_stale_socket(core_, path_);
  } else {
    acceptor_.set_option(asio::socket_base::reuse_address(true));
    if (place.endpoint.protocol().family() == AF_INET6) {
      acceptor_.set_option(asio::ip::v6_only(true));
    }
  }
  acceptor_.bind(place.endpoint);
  acceptor_.listen(kBacklog);
}

Listener::~Listener() {
  std::error_code ignored;
  if (is_unix() && acceptor_.is_open()) std::filesystem::remove(path_, ignored);
}

std::string Listener::address() const {
  if (is_unix()) return "unix:" + path_.string();
  return (core_.tls ? "https://" : "http://") + endpoint_text(acceptor_.local_endpoint());
}

void Listener::start() {
  asio::post(acceptor_.get_executor(), [this] { accept(); });
}

void Listener::close() {
  asio::post(acceptor_.get_executor(), [this] {
    std::error_code no_file;
    if (is_unix() && acceptor_.is_open()) std::filesystem::remove(path_, no_file);
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
  });
}

void Listener::accept() {
  if (!acceptor_.is_open()) return;
  acceptor_.async_accept(new_strand(core_), [this](error_code error, WireSocket socket) {
    on_accept(error, std::move(socket));
  });
}

void Listener::on_accept(error_code error, WireSocket socket) {
  if (error == asio::error::operation_aborted) return;
  if (!error) try_to_take(std::move(socket));
  if (!error || error == asio::error::connection_aborted) {
    failing_ = false;
    return accept();
  }
  // No file handle or memory is left: trying again at once would only burn the processor.
  if (!std::exchange(failing_, true)) {
    log_warning("no connection can be accepted: {}", error.message());
  }
  pause_.expires_after(kPause);
  pause_.async_wait([this](error_code cancelled) {
    if (!cancelled) accept();
  });
}

void Listener::try_to_take(WireSocket socket) {
  try {
    take(std::move(socket));
  } catch (const std::exception& error) {
    log_warning("a connection was dropped: {}", error.what());
  }
}

void Listener::take(WireSocket socket) {
  error_code error;
  const WireEndpoint client = socket.remote_endpoint(error);
  if (error) return;  // it has gone already
  if (!is_unix()) socket.set_option(tcp::no_delay(true), error);
  const auto connection = std::make_shared<Connection>(
      core_, std::move(socket), endpoint_text(client), core_.tls.has_value() && !is_unix());
  const std::size_t open = core_.open.add(connection);
  if (open > core_.connection_limits.open) {
    core_.open.remove(connection.get());
    return core_.counters.update([](HttpCounts& counts) { ++counts.connections_refused; });
  }
  asio::post(connection->executor(), [connection, over = open > core_.connection_limits.served] {
    connection->start(over);
  });
}

}  // namespace blip2
