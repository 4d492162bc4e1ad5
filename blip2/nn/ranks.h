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

// The processes that train together, on c10d with Gloo. Every member function but the plain getters
// is collective: all processes call the same ones in the same order, with tensors of the same shape
// and type unless said otherwise. Throws Error naming the processes that do not answer if one is
// gone, or later than the timeout.
class Ranks {
 public:
  // Waits for all of place.size processes.
  Ranks(const RankPlace& place, std::chrono::seconds timeout);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const { return place_.rank; }
  int size() const { return place_.size; }

  void barrier() const;
  // Replaces the tensor by the sum over all processes. Contiguous.
  void sum(const at::Tensor& tensor) const;
  // The same while the caller goes on: what is returned waits for the end. Calls begin in the same
  // order everywhere.
  std::function<void()> begin_sum(const at::Tensor& tensor) const;
  // Replaces the tensor by that of rank 0. Contiguous.
  void broadcast(const at::Tensor& tensor) const;
  // Every process's rows, in the order of the ranks: [b, ...] -> [size * b, ...], any type, no
  // gradient.
  at::Tensor gather(const at::Tensor& rows) const;
  // Texts of any length.
  std::vector<std::string> gather_text(const std::string& text) const;

 private:
  struct Connection;
  std::string silent_ranks() const;
  template <typename Work>
  auto guarded(const char* what, const Work& work) const;

  RankPlace place_;
  std::unique_ptr<Connection> connection_;
};

// Ranks::gather with a gradient, for losses of which each process computes its equal share: the sum
// of all shares' gradients is each row's, if every process computes the whole loss of all rows and
// divides it by the number of processes. Without ranks (nullptr) the rows themselves.
at::Tensor gather_trained(const Ranks* ranks, const at::Tensor& rows);

// A process's share of what all have: count / sum of all counts; 0 if there are none. 1 without
// ranks. A mean over the own rows times this share, summed over the processes, is the mean over
// all rows.
double share_of(const Ranks* ranks, std::int64_t count);

}  // namespace blip2
