#pragma once
// Softmax losses of one row of logits. See kernels.h for what each does; included by the
// kernels_*.cpp only.
#include <cmath>
#include <vector>

#include "blip2/nn/kernels/vec_math_internal.h"

namespace blip2 {
namespace {

constexpr float kNoLogit = -3.0e38f;  // less than any logit that counts

struct LogitSums {
  float largest, total;  // of the logits
  float mass;            // the sum of exp(logit - largest)

  float log_total() const { return largest + std::log(mass); }
};

// Room for `count` values and the rest of a vector, of the calling thread.
inline float* row_memory(Int count) {
  thread_local std::vector<float> memory;
  const auto size = static_cast<std::size_t>(padded(count));
  if (memory.size() < size) memory.resize(size);
  return memory.data();
}

// logit(i, read): the logits from i on; zeros behind the last one. `masses` [padded(count)] becomes
// exp(logit - largest).
template <typename Logit>
BLIP2_INLINE LogitSums sum_logits(Int count, float* masses, const Logit& logit) {
  Vec highest = splat(kNoLogit);
  WideSum totals, sums;
  const auto part = [](WideSum& sum, Int i) -> Vec& {
    return sum.parts[i / lanes % WideSum::vecs];
  };
  for_each_vec(count, [&](Int i, auto read, auto) {
    const Vec x = logit(i, read);
    part(totals, i) += x;
    const Vec counting = i + lanes <= count ? x : first_of(x, count - i, kNoLogit);
    highest = max(highest, counting);
    store(masses + i, counting);
  });
  const float largest = max(highest);
  for (Int i = 0; i < count; i += lanes) {
    const Vec e = exp(load(masses + i) - largest);
    store(masses + i, e);
    part(sums, i) += e;
  }
  return {largest, sum(totals), sum(sums)};
}

template <typename T>
float log_sum_exp(const T* x, Int count) {
  return sum_logits(count, row_memory(count), [&](Int i, auto read) { return read(x + i); })
      .log_total();
}

struct TargetShares {
  Int target;
  float own, every;  // the target's share of the probability beside the one that each token has
};

template <typename T, typename Logit>
BLIP2_INLINE RowLoss row_loss(T* logits, Int count, const TargetShares& shares, float scale,
                              const Logit& logit) {
  float* const masses = row_memory(count);
  const LogitSums sums = sum_logits(count, masses, logit);
  T* const target = logits + shares.target;
  const auto one = [](const auto* p) { return load_part(p, 1); };
  const float wanted = logit(shares.target, one)[0];
  if (scale != 0) {
    const float gain = scale / sums.mass, less = scale * shares.every;
    for_each_vec(
        count, [&](Int i, auto, auto write) { write(logits + i, load(masses + i) * gain - less); });
    store_part(target, splat(masses[shares.target] * gain - less - scale * shares.own), 1);
  }
  const float rest = shares.every > 0 ? shares.every * sums.total : 0.0f;
  return {sums.log_total() - shares.own * wanted - rest, wanted >= sums.largest};
}

template <typename T>
RowLoss smoothed_cross_entropy(T* logits, const float* bias, Int count, Int target, float smoothing,
                               float gradient_scale) {
  const TargetShares shares{target, 1.0f - smoothing, smoothing / static_cast<float>(count)};
  if (!bias) {
    return row_loss(logits, count, shares, gradient_scale,
                    [&](Int i, auto read) { return read(logits + i); });
  }
  return row_loss(logits, count, shares, gradient_scale,
                  [&](Int i, auto read) { return read(logits + i) + read(bias + i); });
}

template <typename T>
float cross_entropy(T* logits, Int count, Int target) {
  return smoothed_cross_entropy<T>(logits, nullptr, count, target, 0.0f, 1.0f).loss;
}

}  // namespace
}  // namespace blip2
