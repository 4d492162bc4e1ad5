#include <boost/asio/post.hpp>
#include <utility>

#include "blip2/base/log.h"
#include "blip2/http/connection_internal.h"
#include "blip2/http/exchange_internal.h"

namespace blip2 {
namespace {

// Carries every call to the connection's strand, in order.
class StrandReply final : public HttpReply {
 public:
  explicit StrandReply(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~StrandReply() override {
    if (!ended_) exchange_->post([](Connection& connection) { connection.abandon(); });
  }

  void send(int status, std::string type, std::string body, HttpHeaders headers) override {
    ended_ = true;
    exchange_->post([status, type = std::move(type), body = std::move(body),
                     headers = std::move(headers)](Connection& connection) {
      connection.send(status, type, body, headers);
    });
  }
  void begin_stream(int status, std::string type, HttpHeaders headers) override {
    exchange_->post(
        [status, type = std::move(type), headers = std::move(headers)](Connection& connection) {
          connection.begin_stream(status, type, headers);
        });
  }
  void write(std::string bytes) override {
    exchange_->post(
        [bytes = std::move(bytes)](Connection& connection) { connection.write(bytes); });
  }
  void end() override {
    ended_ = true;
    exchange_->post([](Connection& connection) { connection.end_stream(); });
  }
  bool gone() const override { return exchange_->gone(); }
  void on_gone(std::function<void()> action) override { exchange_->on_gone(std::move(action)); }

 private:
  const std::shared_ptr<Exchange> exchange_;
  std::atomic<bool> ended_ = false;
};

void call(const std::function<void()>& action) {
  try {
    if (action) action();
  } catch (const std::exception& error) {
    log_warning("an action for a client that has gone failed: {}", error.what());
  }
}

}  // namespace

std::shared_ptr<HttpReply> make_reply(std::shared_ptr<Exchange> exchange) {
  return std::make_shared<StrandReply>(std::move(exchange));
}

Exchange::Exchange(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

void Exchange::post(std::function<void(Connection&)> work) {
  // The lock is held so that the strand's context, which closes all connections before it ends,
  // cannot end in between.
  const std::lock_guard lock(mutex_);
  if (!connection_) return;
  boost::asio::post(connection_->executor(), [exchange = shared_from_this(), work = std::move(work),
                                              connection = connection_] {
    if (connection->answers(*exchange)) connection->step(work);
  });
}

void Exchange::on_gone(std::function<void()> action) {
  {
    const std::lock_guard lock(mutex_);
    if (connection_) {
      action_ = std::move(action);
      return;
    }
  }
  if (gone_) call(action);
}

void Exchange::finish() {
  std::shared_ptr<Connection> connection;  // freed, as the action, without the lock
  std::function<void()> action;
  const std::lock_guard lock(mutex_);
  connection.swap(connection_);
  action.swap(action_);
}

void Exchange::lose() {
  std::shared_ptr<Connection> connection;
  std::function<void()> action;
  {
    const std::lock_guard lock(mutex_);
    gone_ = true;
    connection.swap(connection_);
    action.swap(action_);
  }
  call(action);
}

}  // namespace blip2
