#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "blip2/optimiser/adamw.h"
#include "blip2/processes/ranks.h"
#include "blip2/processes/shared_memory.h"

namespace blip2 {

// Sums the parameters' gradients over all processes (all-reduce). Gradients are joined to buckets,
// and a bucket is sent as soon as its last gradient has been computed.
//
// Processes of one machine put their buckets into shared memory and share the update too: each
// parameter has an owner, which alone sums its gradient and updates it (Rajbhandari et al. 2019,
// arXiv 1910.02054, stage 1); the other processes copy the parameter from its owner. For one thread
// at a time.
class GradientSum {
 public:
  // `bucket_bytes`: the size of a bucket.
  GradientSum(const Ranks& ranks, const std::vector<NamedTensor>& parameters,
              std::size_t bucket_bytes = 8 << 20);
  ~GradientSum();

  // Makes the next backward pass sum its gradients, together with gradients that earlier passes
  // have accumulated.
  void arm();
  // Call it after that pass: it waits for the sums. A parameter then has a gradient if it has one
  // on any process; with shared updates, only if this process owns it.
  void finish();

  // With shared updates, after the update: copies the parameters of other owners (all-gather).
  void all_gather_parameters();
  // With shared updates: the sum over all processes of `own`, a sum over the parameters that a
  // process owns; otherwise `own` itself. Collective.
  double total(double own) const;
  // Gives all processes the optimiser's state of every parameter (all-gather): `per_parameter`
  // tensors for each parameter, in the order of the parameters. Collective.
  void all_gather_state(const std::vector<NamedTensor>& state, std::size_t per_parameter) const;

 private:
  struct Bucket {
    std::vector<std::size_t> members;  // indices in parameters_
    at::Tensor values;                 // their gradients, one after the other
    std::size_t missing = 0;           // gradients that have not been computed yet
    std::function<void()> wait;        // empty until the bucket is sent
  };
  struct Hook;

  void make_buckets(std::size_t bucket_bytes);
  void arrived(std::size_t parameter);
  // Sends complete buckets in their order, which is the same in all processes.
  void send_complete();
  void send(Bucket& bucket);
  void choose_owners();
  bool owns(std::size_t parameter) const { return owners_[parameter] == ranks_.rank(); }
  // The elements of a parameter in a process's part of the shared memory.
  at::Tensor place(int rank, std::size_t parameter) const;
  void add_up(std::size_t parameter);

  const Ranks& ranks_;
  std::unique_ptr<SharedMemory> memory_;  // nullptr: gradients are sent
  std::vector<at::Tensor> parameters_;
  std::vector<std::size_t> bucket_of_;
  std::vector<std::int64_t> begins_;  // a parameter's place in the values of all buckets
  std::vector<int> owners_;           // rank of each parameter's owner, with shared updates
  std::vector<Bucket> buckets_;
  std::vector<c10::intrusive_ptr<torch::autograd::Node>> accumulators_;
  at::Tensor used_;  // [parameters] int32: 1 where a gradient has come
  std::size_t sent_ = 0;
  bool armed_ = false;
};

}  // namespace blip2
