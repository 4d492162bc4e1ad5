#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace blip2 {

// For tests: a client on a raw socket, which sends what it is told. It waits at most a minute.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval limit{60, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      throw std::runtime_error("no connection");
    }
  }
  ~RawClient() { close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }
  void send(const std::string& bytes) { ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }

  // One answer whose body has a Content-Length.
  std::string receive() {
    std::string head = receive_until("\r\n\r\n");
    const std::size_t at = head.find("Content-Length: ");
    if (at == std::string::npos) return head;
    const std::size_t length = std::stoul(head.substr(at + 16));
    while (buffer_.size() < length && fill()) {
    }
    head += buffer_.substr(0, length);
    buffer_.erase(0, length);
    return head;
  }
  // Up to this mark, or all that comes before the connection's end.
  std::string receive_until(const std::string& mark) {
    while (buffer_.find(mark) == std::string::npos && fill()) {
    }
    const std::size_t at = buffer_.find(mark);
    const std::string result = buffer_.substr(0, at == std::string::npos ? at : at + mark.size());
    buffer_.erase(0, result.size());
    return result;
  }
  std::string receive_all() {
    while (fill()) {
    }
    return std::exchange(buffer_, {});
  }

 private:
  bool fill() {
    char piece[4096];
    const ssize_t got = ::recv(socket_, piece, sizeof(piece), 0);
    if (got > 0) buffer_.append(piece, static_cast<std::size_t>(got));
    return got > 0;
  }

  int socket_;
  std::string buffer_;
};

}  // namespace blip2
