#include "blip2/training/gradient_sum.h"

#include <torch/csrc/autograd/function_hook.h>

#include <utility>

namespace blip2 {

// Runs after a parameter's gradient has been accumulated.
struct GradientSum::Hook : torch::autograd::FunctionPostHook {
  Hook(GradientSum* owner, std::size_t parameter) : owner(owner), parameter(parameter) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    owner->arrived(parameter);
    return outputs;
  }
  GradientSum* owner;
  std::size_t parameter;
};

GradientSum::GradientSum(const Ranks& ranks, const std::vector<NamedTensor>& parameters,
                         std::size_t bucket_bytes)
    : ranks_(ranks), used_(at::zeros({std::ssize(parameters)}, at::kInt)) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    parameters_.push_back(parameters[i].value);
    accumulators_.push_back(torch::autograd::impl::grad_accumulator(parameters_.back()));
    accumulators_.back()->add_post_hook(std::make_unique<Hook>(this, i));
  }
  make_buckets(bucket_bytes);
}

GradientSum::~GradientSum() = default;

// Backward passes go from the last parameters to the first, roughly; so do the buckets.
void GradientSum::make_buckets(std::size_t bucket_bytes) {
  bucket_of_.resize(parameters_.size());
  std::size_t bytes = bucket_bytes;
  for (std::size_t i = parameters_.size(); i-- > 0;) {
    if (bytes >= bucket_bytes) {
      buckets_.emplace_back();
      bytes = 0;
    }
    buckets_.back().members.push_back(i);
    bucket_of_[i] = buckets_.size() - 1;
    bytes += parameters_[i].nbytes();
  }
  for (Bucket& bucket : buckets_) {
    std::int64_t count = 0;
    for (const std::size_t i : bucket.members) count += parameters_[i].numel();
    bucket.values = at::empty({count});
  }
}

void GradientSum::arm() {
  for (Bucket& bucket : buckets_) {
    bucket.missing = bucket.members.size();
    bucket.wait = nullptr;
  }
  used_.zero_();
  sent_ = 0;
  armed_ = true;
}

void GradientSum::arrived(std::size_t parameter) {
  if (!armed_) return;
  used_.mutable_data_ptr<int>()[parameter] = 1;
  --buckets_[bucket_of_[parameter]].missing;
  send_complete();
}

void GradientSum::send_complete() {
  while (sent_ < buckets_.size() && buckets_[sent_].missing == 0) send(buckets_[sent_++]);
}

void GradientSum::send(Bucket& bucket) {
  const at::NoGradGuard no_grad;
  std::int64_t begin = 0;
  for (const std::size_t i : bucket.members) {
    const at::Tensor& gradient = parameters_[i].grad();
    at::Tensor place = bucket.values.narrow(0, begin, parameters_[i].numel());
    begin += parameters_[i].numel();
    if (gradient.defined()) {
      place.copy_(gradient.reshape({-1}));
    } else {
      place.zero_();
    }
  }
  bucket.wait = ranks_.begin_sum(bucket.values);
}

void GradientSum::finish() {
  armed_ = false;
  // A gradient of an earlier, accumulated pass counts too.
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i].grad().defined()) used_.mutable_data_ptr<int>()[i] = 1;
  }
  while (sent_ < buckets_.size()) send(buckets_[sent_++]);
  ranks_.sum(used_);
  const int* used = used_.const_data_ptr<int>();
  for (Bucket& bucket : buckets_) {
    bucket.wait();
    std::int64_t begin = 0;
    for (const std::size_t i : bucket.members) {
      at::Tensor& parameter = parameters_[i];
      if (used[i]) {
        parameter.mutable_grad() =
            bucket.values.narrow(0, begin, parameter.numel()).view(parameter.sizes());
      }
      begin += parameter.numel();
    }
  }
}

}  // namespace blip2
