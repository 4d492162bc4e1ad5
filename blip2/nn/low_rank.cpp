#include "blip2/nn/low_rank.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>

#include "blip2/base/random.h"
#include "blip2/nn/element_type.h"

namespace blip2 {
namespace {

using Int = std::int64_t;

// A number that looks drawn, from a seed and an element's place in its row.
std::uint32_t scattered(std::uint32_t seed, std::uint32_t index) {
  std::uint32_t x = seed ^ (index * 0x9e3779b9u);
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

// 0 for the share of elements that is dropped, 1 for the others: [rows, width] of `type`. An
// element's fate depends on seed, row and place in the row alone.
at::Tensor keep_mask(Int rows, Int width, at::ScalarType type, double share, std::uint64_t seed) {
  const auto limit = static_cast<std::uint32_t>(share * 4294967296.0);
  at::Tensor mask = at::empty({rows, width}, at::TensorOptions(type));
  with_element(type, [&]<typename T>() {
    T* const out = static_cast<T*>(mask.mutable_data_ptr());
    at::parallel_for(0, rows, 8, [&](Int begin, Int end) {
      std::vector<float> kept(static_cast<std::size_t>(width));
      for (Int row = begin; row < end; ++row) {
        const auto row_seed = static_cast<std::uint32_t>(derive_seed(seed, row));
        for (Int i = 0; i < width; ++i) {
          kept[static_cast<std::size_t>(i)] =
              scattered(row_seed, static_cast<std::uint32_t>(i)) < limit ? 0.0f : 1.0f;
        }
        kernels<T>().narrow(kept.data(), out + row * width, width);
      }
    });
  });
  return mask;
}

// y with `more` added to its columns from `begin` on.
at::Tensor with_added(const at::Tensor& y, const at::Tensor& more, Int begin) {
  const Int outs = y.size(1), count = more.size(1);
  if (count == outs) return y + more;
  return at::cat({y.narrow(1, 0, begin), y.narrow(1, begin, count) + more,
                  y.narrow(1, begin + count, outs - begin - count)},
                 1);
}

}  // namespace

LowRank::LowRank(double scale, std::shared_ptr<const LowRankDropout> dropout)
    : scale_(scale), dropout_(std::move(dropout)) {}

std::int64_t LowRank::bytes() const {
  std::int64_t bytes = 0;
  for (const Part& part : parts) bytes += static_cast<Int>(part.a.nbytes() + part.b.nbytes());
  return bytes;
}

double LowRank::gain(const Seed& seed) const {
  return drops(seed) ? scale_ / (1 - dropout_->probability) : scale_;
}

at::Tensor LowRank::dropped(const at::Tensor& x, const Part& part, const Seed& seed) const {
  if (!drops(seed)) return x;
  return x * keep_mask(x.size(0), x.size(1), x.scalar_type(), dropout_->probability,
                       derive_seed(*seed, part.place));
}

at::Tensor LowRank::added(const at::Tensor& x, const at::Tensor& y) const {
  const at::ScalarType type = x.scalar_type();
  at::Tensor sum = y;
  for (const Part& part : parts) {
    const at::Tensor low = at::linear(dropped(x, part, dropout_->seed), part.a.to(type));
    const at::Tensor more = at::linear(low, part.b.to(type)) * gain(dropout_->seed);
    sum = with_added(sum, more, part.begin);
  }
  return sum;
}

void LowRank::add_into(const at::Tensor& x, at::Tensor& y, std::int64_t rows,
                       LowRankTape* tape) const {
  const at::ScalarType type = x.scalar_type();
  const Seed& seed = dropout_->seed;
  for (const Part& part : parts) {
    const at::Tensor low = at::mm(dropped(x, part, seed), part.a.to(type).t());  // [M, r]
    at::Tensor of = y.narrow(1, part.begin, part.b.size(0));
    of.addmm_(low, part.b.to(type).t(), 1, gain(seed));
  }
  if (!tape || !trains()) return;
  const at::Tensor kept = at::empty_like(x);
  kept.narrow(0, 0, rows).copy_(x.narrow(0, 0, rows));
  kept.narrow(0, rows, x.size(0) - rows).zero_();
  tape->read[this] = kept;
  tape->seed = seed;
}

// The factor comes last, to gradients in f32, so that half precision rounds once less.
void LowRank::gradient_into(at::Tensor& dy, at::Tensor& dx, std::int64_t rows,
                            LowRankTape& tape) const {
  const at::ScalarType type = dy.scalar_type();
  const Seed& seed = tape.seed;
  const double factor = gain(seed);
  const auto put = [&](std::int64_t place, const at::Tensor& gradient) {
    at::Tensor to = tape.gradients.narrow(0, place, gradient.numel()).view(gradient.sizes());
    to.copy_(gradient).mul_(factor);
  };
  dy.narrow(0, rows, dy.size(0) - rows).zero_();
  for (const Part& part : parts) {
    const at::Tensor a = part.a.to(type), b = part.b.to(type);
    const at::Tensor own = dy.narrow(1, part.begin, b.size(0));  // [M, outs]
    const at::Tensor dlow = at::mm(own, b);                      // [M, r]
    if (trains()) {
      const at::Tensor x = dropped(tape.read.at(this), part, seed);    // [M, in]
      put(part.place, at::mm(dlow.t(), x));                            // [r, in]
      put(part.place + a.numel(), at::mm(own.t(), at::mm(x, a.t())));  // [outs, r]
    }
    dx.add_(dropped(at::mm(dlow, a), part, seed), factor);  // [M, in]
  }
}

// Rows are shared out over the threads; each is computed by itself.
template <typename T>
void LowRank::add_rows(const T* x, std::int64_t rows, Store store, void* y,
                       std::int64_t stride) const {
  for (const Part& part : parts) {
    const Part own{part.begin, part.a.to(kScalarType<T>), part.b.to(kScalarType<T>), part.place};
    const Int ins = own.a.size(1), size = store == Store::value ? static_cast<Int>(sizeof(T)) : 4;
    at::parallel_for(0, rows, 4, [&](Int begin, Int end) {
      add_part<T>(own, x + begin * ins, end - begin, store,
                  static_cast<std::byte*>(y) + begin * stride * size, stride);
    });
  }
}

template <typename T>
void LowRank::add_part(const Part& part, const T* x, std::int64_t rows, Store store, void* y,
                       std::int64_t stride) const {
  const Int rank = part.a.size(0), ins = part.a.size(1), outs = part.b.size(0);
  const auto* a = static_cast<const T*>(part.a.const_data_ptr());
  const auto* b = static_cast<const T*>(part.b.const_data_ptr());
  std::vector<float> low(static_cast<std::size_t>(rows * rank)),
      more(static_cast<std::size_t>(rows * outs));
  std::vector<T> narrow(low.size());
  const Kernels<T>& k = kernels<T>();
  k.linear(x, rows, ins, a, 0, rank, Store::value_f32, low.data(), rank);
  for (float& value : low) value *= static_cast<float>(scale_);
  k.narrow(low.data(), narrow.data(), rows * rank);
  k.linear(narrow.data(), rows, rank, b, 0, outs, Store::value_f32, more.data(), outs);
  for (Int row = 0; row < rows; ++row) {
    float* const from = more.data() + row * outs;
    if (store == Store::value) {
      T* const to = static_cast<T*>(y) + row * stride + part.begin;
      k.add(from, to, from, outs);
      k.narrow(from, to, outs);
    } else {
      // A product alone (value_f32) is in y already.
      float* const to = static_cast<float*>(y) + row * stride + part.begin;
      for (Int i = 0; i < outs; ++i) to[i] += from[i];
    }
  }
}

template void LowRank::add_rows(const float*, Int, Store, void*, Int) const;
template void LowRank::add_rows(const Bf16*, Int, Store, void*, Int) const;
template void LowRank::add_rows(const F16*, Int, Store, void*, Int) const;

}  // namespace blip2
