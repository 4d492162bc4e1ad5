#include "blip2/processes/ranks.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using c10d::ProcessGroupGloo;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// How often a process says that it is there, and how long its silence is believed to be chance; how
// often wait() looks; how long one that ends waits for the store.
constexpr milliseconds kBeat{500}, kPatience{2500}, kLook{20}, kGoodbye{500};
// Takes a process's count of beats below zero: an exception has ended it.
constexpr std::int64_t kEnded = -(std::int64_t{1} << 40);

std::string beat_key(int rank) {
  return fmt::format("blip2/beat/{}", rank);
}

// The own address on the network through which the meeting place is reached; empty if unknown.
std::string own_address(const std::string& host) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_DGRAM;
  if (getaddrinfo(host.c_str(), "9", &hints, &found) != 0) return {};
  std::string address;
  for (const addrinfo* entry = found; entry && address.empty(); entry = entry->ai_next) {
    const int socket = ::socket(entry->ai_family, SOCK_DGRAM, 0);
    if (socket < 0) continue;
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    char text[NI_MAXHOST];
    // Connecting a datagram socket sends nothing: it only chooses the route.
    if (connect(socket, entry->ai_addr, entry->ai_addrlen) == 0 &&
        getsockname(socket, reinterpret_cast<sockaddr*>(&own), &length) == 0 &&
        getnameinfo(reinterpret_cast<sockaddr*>(&own), length, text, sizeof text, nullptr, 0,
                    NI_NUMERICHOST) == 0) {
      address = text;
    }
    close(socket);
  }
  freeaddrinfo(found);
  return address;
}

std::shared_ptr<::gloo::transport::Device> network_device(const RankPlace& place) {
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME"); interface && *interface) {
    return ProcessGroupGloo::createDeviceForInterface(interface);
  }
  const std::string address = own_address(place.address);
  return address.empty() ? ProcessGroupGloo::createDefaultDevice()
                         : ProcessGroupGloo::createDeviceForHostname(address);
}

c10::intrusive_ptr<c10d::Store> meet(const RankPlace& place, bool serve,
                                     std::chrono::seconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = place.port;
  options.isServer = serve;
  options.timeout = timeout;
  options.waitWorkers = false;
  auto store = c10::make_intrusive<c10d::TCPStore>(place.address, options);
  return c10::make_intrusive<c10d::PrefixStore>(fmt::format("blip2/attempt_{}", place.attempt),
                                                store);
}

// store->add(), which itself waits for ever if the machine that holds the store is gone.
std::int64_t add_within(milliseconds timeout, const c10::intrusive_ptr<c10d::Store>& store,
                        const std::string& key, std::int64_t value) {
  std::packaged_task<std::int64_t()> ask([=] { return store->add(key, value); });
  auto answer = ask.get_future();
  std::thread(std::move(ask)).detach();
  if (answer.wait_for(timeout) == std::future_status::ready) return answer.get();
  throw std::runtime_error("the meeting place is silent");
}

// Says on the store every now and then that this process is there.
class Heartbeat {
 public:
  Heartbeat(c10::intrusive_ptr<c10d::Store> store, int rank)
      : state_(std::make_shared<State>(std::move(store), rank)), thread_(run, state_) {}
  ~Heartbeat() {
    std::unique_lock lock(state_->mutex);
    state_->ended = true;
    state_->wake.notify_all();
    const bool done = state_->wake.wait_for(lock, kGoodbye, [this] { return state_->done; });
    lock.unlock();
    done ? thread_.join() : thread_.detach();
  }

 private:
  struct State {
    State(c10::intrusive_ptr<c10d::Store> where, int who) : store(std::move(where)), rank(who) {}
    c10::intrusive_ptr<c10d::Store> store;
    int rank;
    std::mutex mutex;
    std::condition_variable wake;
    bool ended = false, done = false;
  };

  // Keeps what it needs, in case that the store never answers.
  static void run(const std::shared_ptr<State>& state) {
    std::unique_lock lock(state->mutex);
    for (bool there = true; there && !state->ended;) {
      lock.unlock();
      try {
        state->store->add(beat_key(state->rank), 1);
      } catch (const std::exception&) {
        there = false;  // the store is gone; the next collective says so
      }
      lock.lock();
      if (there) state->wake.wait_for(lock, kBeat, [&] { return state->ended; });
    }
    state->done = true;
    state->wake.notify_all();
  }

  std::shared_ptr<State> state_;
  std::thread thread_;
};

at::Tensor bytes_of(const at::Tensor& tensor) {
  return tensor.contiguous().view({-1}).view(at::kByte);
}

}  // namespace

struct Ranks::Connection {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<ProcessGroupGloo> group;
  std::shared_ptr<void> heartbeat;  // a Heartbeat
  // What check() has seen: each process's beats, and since when there were no more.
  struct Seen {
    std::int64_t beats = 0;
    Clock::time_point since = Clock::now();
  };
  std::vector<Seen> seen;
  Clock::time_point checked = Clock::now();
  std::int64_t waits = 0;
};

Ranks::Ranks(const RankPlace& place, std::chrono::seconds timeout)
    : place_(place), timeout_(timeout) {
  // Writing to a process that is gone shall be an error of this one, not its end.
  std::signal(SIGPIPE, SIG_IGN);
  connection_ = std::make_unique<Connection>();
  connection_->seen.resize(static_cast<std::size_t>(place.size));
  try {
    connection_->store = meet(place, place.rank == 0 && !place.launcher_meets, timeout);
    auto options = ProcessGroupGloo::Options::create(timeout);
    options->devices = {network_device(place)};
    connection_->group =
        c10::make_intrusive<ProcessGroupGloo>(connection_->store, place.rank, place.size, options);
    connection_->heartbeat =
        std::make_shared<Heartbeat>(meet(place, /*serve=*/false, timeout), place.rank);
  } catch (const std::exception& error) {
    const std::string what = error.what();
    throw Error(fmt::format("rank {} did not find the other {}: {}", place.rank, place.size - 1,
                            what.substr(0, what.find('\n'))),
                fmt::format("{}:{}", place.address, place.port),
                "do all processes run, and does each reach this address?");
  }
}

Ranks::~Ranks() {
  if (std::uncaught_exceptions() == 0) return;
  try {
    connection_->heartbeat.reset();
    add_within(kGoodbye, connection_->store, beat_key(rank()), kEnded);
  } catch (const std::exception&) {  // those who meet at the store see that it is gone
  }
}

void Ranks::lose(const std::string& who, const std::string& why) const {
  throw Error(
      who + " " + why, fmt::format("rank {} of {}", rank(), size()),
      "start all again, `train` with --resume; torchrun's --max-restarts does it by itself");
}

// The ranks whose beat stands still.
std::string Ranks::silent_ranks() const {
  const auto beats = [this] {
    std::vector<std::int64_t> counts;
    for (int rank = 0; rank < size(); ++rank) {
      counts.push_back(add_within(kPatience, connection_->store, beat_key(rank), 0));
    }
    return counts;
  };
  try {
    const auto before = beats();
    std::this_thread::sleep_for(kPatience);
    const auto after = beats();
    std::vector<int> silent;
    for (int rank = 0; rank < size(); ++rank) {
      if (rank != this->rank() && after[rank] == before[rank]) silent.push_back(rank);
    }
    if (silent.empty()) return "another process";
    return fmt::format("rank {}", fmt::join(silent, ", "));
  } catch (const std::exception&) {
    return place_.launcher_meets ? "the launcher" : "rank 0, where all meet,";
  }
}

template <typename Work>
auto Ranks::guarded(const char* what, const Work& work) const {
  try {
    return work();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    const std::string text = error.what();
    lose(silent_ranks(),
         fmt::format("does not answer ({}: {})", what, text.substr(0, text.find('\n'))));
  }
}

void Ranks::check() const {
  Connection& connection = *connection_;
  const auto now = Clock::now();
  if (now - connection.checked < kBeat) return;
  connection.checked = now;
  std::vector<int> silent;
  for (int other = 0; other < size(); ++other) {
    const auto beats = guarded(
        "listening", [&] { return add_within(timeout_, connection.store, beat_key(other), 0); });
    if (beats < 0) lose(fmt::format("rank {}", other), "has ended early; it says why");
    auto& seen = connection.seen[static_cast<std::size_t>(other)];
    if (beats != seen.beats) seen = {beats, now};
    if (other != rank() && now - seen.since > timeout_) silent.push_back(other);
  }
  if (silent.empty()) return;
  lose(fmt::format("rank {}", fmt::join(silent, ", ")),
       fmt::format("does not answer (no sign of life for {} s)", timeout_.count()));
}

void Ranks::wait() const {
  const std::string key = fmt::format("blip2/wait/{}", connection_->waits++);
  const auto arrived = [&](int more) {
    return guarded("waiting", [&] { return add_within(timeout_, connection_->store, key, more); });
  };
  for (auto here = arrived(1); here < size(); here = arrived(0)) {
    check();
    std::this_thread::sleep_for(kLook);
  }
}

void Ranks::barrier() const {
  guarded("waiting", [&] { connection_->group->barrier()->wait(); });
}

std::function<void()> Ranks::begin_all_reduce(const at::Tensor& tensor) const {
  return guarded("summing", [&]() -> std::function<void()> {
    std::vector<at::Tensor> tensors{tensor};
    const auto work = connection_->group->allreduce(tensors);
    return [this, work] { guarded("summing", [&] { work->wait(); }); };
  });
}

void Ranks::all_reduce(const at::Tensor& tensor) const {
  begin_all_reduce(tensor)();
}

void Ranks::broadcast(const at::Tensor& tensor, int from) const {
  guarded("sending", [&] {
    std::vector<at::Tensor> tensors{tensor};
    c10d::BroadcastOptions options;
    options.rootRank = from;
    connection_->group->broadcast(tensors, options)->wait();
  });
}

void Ranks::send(const at::Tensor& tensor, int to) const {
  std::vector<at::Tensor> tensors{bytes_of(tensor)};
  guarded("sending", [&] { connection_->group->send(tensors, to, /*tag=*/0)->wait(); });
}

void Ranks::receive(const at::Tensor& tensor, int from) const {
  std::vector<at::Tensor> tensors{bytes_of(tensor)};
  guarded("receiving", [&] { connection_->group->recv(tensors, from, /*tag=*/0)->wait(); });
}

at::Tensor Ranks::all_gather(const at::Tensor& rows) const {
  const at::NoGradGuard no_grad;
  auto shape = rows.sizes().vec();
  shape[0] *= size();
  const at::Tensor all = at::empty(shape, rows.options());
  std::vector<at::Tensor> in{bytes_of(rows.detach())};
  if (in[0].numel() == 0) return all;
  std::vector<std::vector<at::Tensor>> out{bytes_of(all).chunk(size())};
  guarded("gathering", [&] { connection_->group->allgather(out, in)->wait(); });
  return all;
}

std::vector<std::string> Ranks::all_gather_text(const std::string& text) const {
  const at::Tensor lengths = all_gather(at::full({1}, std::ssize(text), at::kLong));
  const auto* length = lengths.const_data_ptr<std::int64_t>();
  const std::int64_t longest = std::max<std::int64_t>(1, lengths.max().item<std::int64_t>());
  const at::Tensor padded = at::zeros({1, longest}, at::kByte);
  std::memcpy(padded.data_ptr(), text.data(), text.size());
  const at::Tensor all = all_gather(padded);
  std::vector<std::string> texts;
  for (int rank = 0; rank < size(); ++rank) {
    texts.emplace_back(static_cast<const char*>(all[rank].const_data_ptr()),
                       static_cast<std::size_t>(length[rank]));
  }
  return texts;
}

namespace {

struct GatherFunction : torch::autograd::Function<GatherFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& rows,
                            std::int64_t ranks) {
    const auto* all = reinterpret_cast<const Ranks*>(ranks);
    ctx->saved_data["first"] = all->rank() * rows.size(0);
    ctx->saved_data["rows"] = rows.size(0);
    ctx->saved_data["size"] = std::int64_t{all->size()};
    return all->all_gather(rows);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    const at::Tensor own =
        gradients[0].narrow(0, ctx->saved_data["first"].toInt(), ctx->saved_data["rows"].toInt());
    return {own * ctx->saved_data["size"].toInt(), at::Tensor()};
  }
};

}  // namespace

std::unique_ptr<Ranks> join_ranks(std::chrono::seconds timeout) {
  const RankPlace place = rank_place_from_environment();
  return place.alone() ? nullptr : std::make_unique<Ranks>(place, timeout);
}

at::Tensor all_gather_with_gradient(const Ranks* ranks, const at::Tensor& rows) {
  if (!ranks) return rows;
  return GatherFunction::apply(rows, reinterpret_cast<std::int64_t>(ranks));
}

double share_of(const Ranks* ranks, std::int64_t count) {
  if (!ranks) return 1;
  const at::Tensor all = at::full({}, count, at::kLong);
  ranks->all_reduce(all);
  const auto total = all.item<std::int64_t>();
  return total ? static_cast<double>(count) / static_cast<double>(total) : 0;
}

}  // namespace blip2
