#pragma once

#include <torch/torch.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "blip2/base/rank_place.h"

namespace blip2 {

// The processes that work together, on c10d with Gloo. Every member function but check() and the
// plain getters is collective: all processes call the same ones in the same order, with tensors of
// the same shape and type unless said otherwise. Throws Error naming the processes that do not
// answer if one is gone, or later than the timeout.
class Ranks {
 public:
  // Waits for all of place.size processes.
  Ranks(const RankPlace& place, std::chrono::seconds timeout);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const { return place_.rank; }
  int size() const { return place_.size; }

  // To be called now and again during long work of one's own. Error naming a process that an
  // exception has ended, or that has given no sign of life for the timeout.
  void check() const;
  // Waits for the others however long they work, as long as check() has nothing to say.
  void wait() const;
  void barrier() const;
  // Replaces the tensor by the sum over all processes. Contiguous.
  void sum(const at::Tensor& tensor) const;
  // The same while the caller goes on: what is returned waits for the end. Calls begin in the same
  // order everywhere.
  std::function<void()> begin_sum(const at::Tensor& tensor) const;
  // Replaces the tensor by that of one process. Contiguous.
  void broadcast(const at::Tensor& tensor, int from = 0) const;
  // Every process's rows, in the order of the ranks: [b, ...] -> [size * b, ...], any type, no
  // gradient.
  at::Tensor gather(const at::Tensor& rows) const;
  // Texts of any length.
  std::vector<std::string> gather_text(const std::string& text) const;
  // From one process to another, which alone take part. Contiguous, alike at both.
  void send(const at::Tensor& tensor, int to) const;
  void receive(const at::Tensor& tensor, int from) const;

 private:
  struct Connection;
  [[noreturn]] void lose(const std::string& who, const std::string& why) const;
  std::string silent_ranks() const;
  template <typename Work>
  auto guarded(const char* what, const Work& work) const;

  RankPlace place_;
  std::chrono::seconds timeout_;
  std::unique_ptr<Connection> connection_;
};

// The processes of the environment's launcher, see rank_place_from_environment(); none if this one
// is alone.
std::unique_ptr<Ranks> join_ranks(std::chrono::seconds timeout);

// Ranks::gather with a gradient, for losses of which each process computes its equal share: the sum
// of all shares' gradients is each row's, if every process computes the whole loss of all rows and
// divides it by the number of processes. Without ranks (nullptr) the rows themselves.
at::Tensor gather_trained(const Ranks* ranks, const at::Tensor& rows);

// A process's share of what all have: count / sum of all counts; 0 if there are none. 1 without
// ranks. A mean over the own rows times this share, summed over the processes, is the mean over
// all rows.
double share_of(const Ranks* ranks, std::int64_t count);

}  // namespace blip2
