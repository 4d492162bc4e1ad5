#include "blip2/optimiser/gradient_sum.h"

#include <torch/csrc/autograd/function_hook.h>

#include <algorithm>
#include <numeric>
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
  std::int64_t all = 0;
  std::vector<std::int64_t> bucket_begins;
  begins_.resize(parameters_.size());
  for (const Bucket& bucket : buckets_) {
    bucket_begins.push_back(all);
    for (const std::size_t i : bucket.members) {
      begins_[i] = all;
      all += parameters_[i].numel();
    }
  }
  bucket_begins.push_back(all);
  memory_ = SharedMemory::open(ranks_, all);
  const at::Tensor values = memory_ ? memory_->part(ranks_.rank()) : at::empty({all});
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    buckets_[b].values = values.slice(0, bucket_begins[b], bucket_begins[b + 1]);
  }
  if (memory_) choose_owners();
}

// Large ones first, each to the process with the fewest elements so far.
void GradientSum::choose_owners() {
  std::vector<std::size_t> order(parameters_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return parameters_[a].numel() > parameters_[b].numel();
  });
  std::vector<std::int64_t> load(static_cast<std::size_t>(ranks_.size()), 0);
  owners_.resize(parameters_.size());
  for (const std::size_t i : order) {
    const auto lightest = std::min_element(load.begin(), load.end());
    *lightest += parameters_[i].numel();
    owners_[i] = static_cast<int>(lightest - load.begin());
  }
}

at::Tensor GradientSum::place(int rank, std::size_t parameter) const {
  return memory_->part(rank).narrow(0, begins_[parameter], parameters_[parameter].numel());
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
  if (!memory_) bucket.wait = ranks_.begin_all_reduce(bucket.values);
}

void GradientSum::add_up(std::size_t parameter) {
  const at::NoGradGuard no_grad;
  at::Tensor& gradient = parameters_[parameter].mutable_grad();
  if (!gradient.defined() || !gradient.is_contiguous()) {
    gradient = at::empty(parameters_[parameter].sizes());
  }
  at::Tensor sum = gradient.view({-1});
  at::add_out(sum, place(0, parameter), place(1, parameter));
  for (int rank = 2; rank < ranks_.size(); ++rank) sum.add_(place(rank, parameter));
}

void GradientSum::all_gather_parameters() {
  if (!memory_) return;
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (owns(i)) place(ranks_.rank(), i).copy_(parameters_[i].view({-1}));
  }
  ranks_.barrier();
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!owns(i)) parameters_[i].view({-1}).copy_(place(owners_[i], i));
  }
  ranks_.barrier();  // now the memory is free for the next step
}

double GradientSum::total(double own) const {
  if (!memory_) return own;
  const at::Tensor sum = at::full({}, own, at::kDouble);
  ranks_.all_reduce(sum);
  return sum.item<double>();
}

void GradientSum::all_gather_state(const std::vector<NamedTensor>& state,
                                   std::size_t per_parameter) const {
  if (!memory_) return;
  for (std::size_t i = 0; i < state.size(); ++i) {
    ranks_.broadcast(state[i].value, owners_[i / per_parameter]);
  }
}

void GradientSum::finish() {
  armed_ = false;
  // A gradient of an earlier, accumulated pass counts too.
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i].grad().defined()) used_.mutable_data_ptr<int>()[i] = 1;
  }
  while (sent_ < buckets_.size()) send(buckets_[sent_++]);
  ranks_.all_reduce(used_);  // by then all have laid down theirs
  const int* used = used_.const_data_ptr<int>();
  if (memory_) {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      if (!owns(i)) parameters_[i].mutable_grad().reset();
      if (owns(i) && used[i]) add_up(i);
    }
    return;
  }
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
