#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "blip2/nn/ranks.h"
#include "blip2/training/adamw.h"

namespace blip2 {

// Sums the parameters' gradients over all processes while the backward pass goes on: gradients are
// put together in buckets, and a bucket is on its way as soon as its last gradient is there.
class GradientSum {
 public:
  // `bucket_bytes`: as many as travel at a time.
  GradientSum(const Ranks& ranks, const std::vector<NamedTensor>& parameters,
              std::size_t bucket_bytes = 8 << 20);
  ~GradientSum();

  // The gradients of the next backward pass are summed; those of passes before it, which were only
  // accumulated, with them.
  void arm();
  // After that pass: waits. A parameter has a gradient then if it has one on any process.
  void finish();

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

  const Ranks& ranks_;
  std::vector<at::Tensor> parameters_;
  std::vector<std::size_t> bucket_of_;
  std::vector<Bucket> buckets_;
  std::vector<c10::intrusive_ptr<torch::autograd::Node>> accumulators_;
  at::Tensor used_;  // [parameters] int32: 1 where a gradient has come
  std::size_t sent_ = 0;
  bool armed_ = false;
};

}  // namespace blip2
