#pragma once
// Softmax attention of one token over the keys of a cache; included by the kernels_*.cpp only. Keys
// and values are read as they lie, each once a head: what several tokens share stays in the
// processor's cache from one to the next.
#include "blip2/nn/kernels/attention_parts_internal.h"

namespace blip2 {
namespace {

// scores[j] = query . keys[j]; each is one WideSum, reduced in one order.
template <typename T>
BLIP2_INLINE void score_keys(const float* query, const CachedKeys<T>& cached, Int dim,
                             float* scores) {
  for (Int j = 0; j < cached.count; j += 4) {
    const Int count = cached.count - j < 4 ? cached.count - j : 4;
    const T* key[4];
    for (Int o = 0; o < 4; ++o) key[o] = cached.keys + (j + (o < count ? o : count - 1)) * dim;
    WideSum sums[4];
    for_each_term(
        dim, [&](Int d, Int part, auto read, auto) __attribute__((always_inline)) {
          const Vec x = load(query + d);
          for (Int o = 0; o < 4; ++o) sums[o].parts[part] += read(key[o] + d) * x;
        });
    float totals[4];
    sum4(sums, totals);
    for (Int o = 0; o < count; ++o) scores[j + o] = totals[o];
  }
}

// Adds scores[j] * values[j] at columns d ... of the head to `sums`, in the order of j.
template <Int Vecs, typename T, typename Read>
BLIP2_INLINE void add_values(const float* scores, const CachedKeys<T>& cached, Int dim, Int d,
                             Vec* sums, const Read& read) {
  for (Int j = 0; j < cached.count; ++j) {
    const T* value = cached.values + j * dim + d;
    for (Int i = 0; i < Vecs; ++i) sums[i] += read(value + i * lanes) * scores[j];
  }
}

template <Int Vecs, typename T, typename Read>
BLIP2_INLINE void mix_values(const TokenAttention<T>& a, const float* scores, Int d, Vec* sums,
                             const Read& read) {
  for (Int i = 0; i < Vecs; ++i) sums[i] = Vec{};
  for (Int i = 0; i < a.count; ++i) {
    add_values<Vecs>(scores, a.lists[i], a.head_dim, d, sums, read);
    scores += a.lists[i].count;
  }
}

template <typename T>
BLIP2_INLINE void mix_head(const TokenAttention<T>& a, const float* scores, T* out) {
  const auto whole = [](const T* p) __attribute__((always_inline)) {
    return load(p);
  };
  Vec sums[4];
  Int d = 0;
  for (; d + 4 * lanes <= a.head_dim; d += 4 * lanes) {
    mix_values<4>(a, scores, d, sums, whole);
    for (Int i = 0; i < 4; ++i) store(out + d + i * lanes, sums[i]);
  }
  for (; d + lanes <= a.head_dim; d += lanes) {
    mix_values<1>(a, scores, d, sums, whole);
    store(out + d, sums[0]);
  }
  if (d == a.head_dim) return;
  const Int rest = a.head_dim - d;
  mix_values<1>(
      a, scores, d,
      sums, [rest](const T* p) __attribute__((always_inline)) { return load_part(p, rest); });
  store_part(out + d, sums[0], rest);
}

template <typename T>
void attend_token(const TokenAttention<T>& a, float* scratch) {
  const Int dim = a.head_dim, wide = padded(dim);
  float *const query = scratch, *const scores = query + wide;
  for (Int head = 0; head < a.group; ++head) {
    widen_rows(a.q + head * dim, 0, 1, dim, query, wide);
    Int keys = 0;
    for (Int i = 0; i < a.count; keys += a.lists[i++].count) {
      score_keys(query, a.lists[i], dim, scores + keys);
    }
    softmax(scores, keys, a.scale);
    mix_head(a, scores, a.out + head * dim);
  }
}

}  // namespace
}  // namespace blip2
