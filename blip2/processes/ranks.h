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

// The processes that work together, over c10d with Gloo. Every member function except check() and
// the getters is collective: all processes call the same functions in the same order, with tensors
// of the same shape and type unless said otherwise. Throws Error naming the processes that do not
// answer, if a process is gone or later than the timeout. For one thread at a time.
class Ranks {
 public:
  // Waits for all of place.size processes.
  Ranks(const RankPlace& place, std::chrono::seconds timeout);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const { return place_.rank; }
  int size() const { return place_.size; }

  // Call it now and again during long work without collective calls. Error naming a process that an
  // exception has ended, or that has given no sign of life for the timeout.
  void check() const;
  // Waits for the other processes however long they work, unless check() throws.
  void wait() const;
  void barrier() const;
  // All-reduce: replaces the tensor, which is contiguous, by the sum over all processes.
  void all_reduce(const at::Tensor& tensor) const;
  // Begins an all-reduce that runs while the caller goes on; the function returned waits for its
  // end. All processes begin these calls in the same order.
  std::function<void()> begin_all_reduce(const at::Tensor& tensor) const;
  // Replaces the tensor, which is contiguous, by the tensor of process `from`.
  void broadcast(const at::Tensor& tensor, int from = 0) const;
  // All-gather: the rows of all processes in the order of the ranks, [b, ...] -> [size * b, ...],
  // of any type, without gradient.
  at::Tensor all_gather(const at::Tensor& rows) const;
  // All-gather of texts, which may have any length.
  std::vector<std::string> all_gather_text(const std::string& text) const;
  // Send a tensor from one process to another; only these two call. The tensors are contiguous, of
  // the same shape and type.
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

// Joins the processes that a launcher has started, see rank_place_from_environment(); nullptr if
// this process is alone.
std::unique_ptr<Ranks> join_ranks(std::chrono::seconds timeout);

// Ranks::all_gather with a gradient, for a loss of which each process computes an equal share: if
// every process computes the loss of all rows divided by the number of processes, a row's gradient
// is the sum of the gradients of all shares. Without ranks (nullptr) it returns the rows
// themselves.
at::Tensor all_gather_with_gradient(const Ranks* ranks, const at::Tensor& rows);

// The share of this process's count in the sum of all counts; 0 if that sum is 0, and 1 without
// ranks. The mean over a process's rows times this share, summed over the processes, is the mean
// over all rows.
double share_of(const Ranks* ranks, std::int64_t count);

}  // namespace blip2
