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

// Sums the parameters' gradients over all processes. Gradients are put together in buckets, and a
// bucket is on its way as soon as its last gradient is there.
//
// Processes of one machine lay their buckets into memory that they share, and share the update too:
// each parameter has an owner, which alone adds up its gradient and updates it (Rajbhandari et al.
// 2019, arXiv 1910.02054, stage 1), and from which the others take it.
class GradientSum {
 public:
  // `bucket_bytes`: as many as travel at a time.
  GradientSum(const Ranks& ranks, const std::vector<NamedTensor>& parameters,
              std::size_t bucket_bytes = 8 << 20);
  ~GradientSum();

  // The gradients of the next backward pass are summed; those of passes before it, which were only
  // accumulated, with them.
  void arm();
  // After that pass: waits. A parameter has a gradient then if it has one on any process; with
  // shared updates, only if this process owns it.
  void finish();

  // With shared updates: after the update, takes the others' parameters from their owners.
  void spread();
  // What all processes have together of what each has of its own parameters; `own` itself if
  // updates are not shared. Collective.
  double total(double own) const;
  // Gives all processes the optimiser's state of every parameter, `per_parameter` tensors each in
  // the parameters' order. Collective.
  void spread_state(const std::vector<NamedTensor>& state, std::size_t per_parameter) const;

 private:
  struct Bucket {
    std::vector<std::size_t> members;  // of parameters_
    at::Tensor values;                 // their gradients, one after the other
    std::size_t missing = 0;           // gradients that are not there yet
    std::function<void()> wait;        // empty until it is on its way
  };
  struct Hook;

  void make_buckets(std::size_t bucket_bytes);
  void arrived(std::size_t parameter);
  // Sends what is complete, in the order of the buckets, which is everywhere the same.
  void send_complete();
  void send(Bucket& bucket);
  void choose_owners();
  bool owns(std::size_t parameter) const { return owners_[parameter] == ranks_.rank(); }
  // The place of a parameter in what a process has laid into the shared memory, [its elements].
  at::Tensor place(int rank, std::size_t parameter) const;
  void add_up(std::size_t parameter);

  const Ranks& ranks_;
  std::unique_ptr<SharedMemory> memory_;  // none: gradients travel
  std::vector<at::Tensor> parameters_;
  std::vector<std::size_t> bucket_of_;
  std::vector<std::int64_t> begins_;  // each one's place among the values of all buckets
  std::vector<int> owners_;           // with shared updates
  std::vector<Bucket> buckets_;
  std::vector<c10::intrusive_ptr<torch::autograd::Node>> accumulators_;
  at::Tensor used_;  // [parameters] int32: 1 where a gradient has come
  std::size_t sent_ = 0;
  bool armed_ = false;
};

}  // namespace blip2
