// Attention of every table that the machine can run, in f32, bf16 and f16, against LibTorch in f64.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "blip2/base/random.h"
#include "blip2/nn/kernels/kernel_check.h"

namespace blip2 {
namespace {

using kernel_check::data;
using kernel_check::exact;
using kernel_check::expect_close;
using kernel_check::Int;
using kernel_check::on_every_table;
using kernel_check::random;
using kernel_check::Tensor;

// Queries [queries, group, dim], keys and values [keys, dim] -> [queries, group, dim]; query i sees
// keys 0 .. start + i, or the last `window` of them.
Tensor causal(const Tensor& q, const Tensor& k, const Tensor& v, Int start, double scale,
              Int window = 0) {
  const Int queries = q.size(0), keys = k.size(0);
  const Tensor place = at::arange(queries).view({-1, 1, 1}) + start;
  const Tensor key = at::arange(keys).view({1, 1, -1});
  Tensor hidden = key > place;
  if (window > 0) hidden = hidden.logical_or(key <= place - window);
  const Tensor scores = at::einsum("qgd,kd->qgk", {q, k}) * scale;
  return at::einsum("qgk,kd->qgd", {scores.masked_fill(hidden, -INFINITY).softmax(-1), v});
}

TEST(KernelTables, CausalAttention) {
  on_every_table([]<typename T>(const Kernels<T>& kernels) {
    const Int group = 3, dim = 20;
    for (const auto& [start, queries] : {std::pair<Int, Int>{0, 9}, {14, 9}, {5, 70}}) {
      const Int keys = start + queries;
      const AttentionShape shape{start, queries, group, dim, group * dim, dim, group * dim, 0.3f};
      const Tensor q = random<T>({queries, group, dim}, 1), k = random<T>({keys, dim}, 2),
                   v = random<T>({keys, dim}, 3), out = at::empty_like(q);
      const Tensor scratch = at::full({attention_scratch(shape)}, NAN);
      kernels.attention(data<T>(q), data<T>(k), data<T>(v), data<T>(out), shape,
                        data<float>(scratch));
      expect_close<T>(out, causal(exact(q), exact(k), exact(v), start, 0.3), "out", 2);
    }
  });
}

TEST(KernelTables, CausalAttentionWithinAWindow) {
  on_every_table([]<typename T>(const Kernels<T>& kernels) {
    const Int group = 3, dim = 20;
    for (const auto& [start, queries] : {std::pair<Int, Int>{0, 9}, {14, 9}, {61, 70}}) {
      for (const Int window : {1, 5, 16, 17, 40, 131}) {
        const Int keys = start + queries;
        AttentionShape shape{start, queries, group, dim, group * dim, dim, group * dim, 0.3f};
        shape.window = window;
        const Tensor q = random<T>({queries, group, dim}, 1), k = random<T>({keys, dim}, 2),
                     v = random<T>({keys, dim}, 3), out = at::empty_like(q);
        const Tensor scratch = at::full({attention_scratch(shape)}, NAN);
        kernels.attention(data<T>(q), data<T>(k), data<T>(v), data<T>(out), shape,
                          data<float>(scratch));
        expect_close<T>(out, causal(exact(q), exact(k), exact(v), start, 0.3, window), "out", 2);
      }
    }
  });
}

// Bit for bit, however many of a text's tokens are read at once.
TEST(KernelTables, ATextReadInPartsGivesTheSameWithinAWindow) {
  on_every_table([]<typename T>(const Kernels<T>& kernels) {
    const Int group = 2, dim = 20, keys = 90, wide = group * dim;
    const Tensor q = random<T>({keys, group, dim}, 1), k = random<T>({keys, dim}, 2),
                 v = random<T>({keys, dim}, 3);
    const auto read = [&](const std::vector<Int>& parts) {
      const Tensor out = at::empty_like(q);
      Int start = 0;
      for (const Int queries : parts) {
        AttentionShape shape{start, queries, group, dim, wide, dim, wide, 0.3f};
        shape.window = 19;
        const Tensor scratch = at::full({attention_scratch(shape)}, NAN);
        kernels.attention(data<T>(q) + start * wide, data<T>(k), data<T>(v),
                          data<T>(out) + start * wide, shape, data<float>(scratch));
        start += queries;
      }
      return out;
    };
    EXPECT_TRUE(at::equal(read({90}), read({7, 30, 2, 51})));
  });
}

// Heads side by side in rows that hold queries, keys and values.
template <typename T>
Tensor attention_over_all(const Kernels<T>& kernels, const Tensor& rows, Int heads, Int dim) {
  const Int wide = heads * dim;
  const Tensor out = at::full({rows.size(0), wide}, NAN, rows.options());
  const DenseAttention<T> args{.q = data<T>(rows),
                               .k = data<T>(rows) + wide,
                               .v = data<T>(rows) + 2 * wide,
                               .out = data<T>(out),
                               .rows = rows.size(0),
                               .head_size = dim,
                               .stride = 3 * wide,
                               .out_stride = wide,
                               .scale = 0.3f};
  kernels.attend_all(args, 0, 1);
  kernels.attend_all(args, 1, heads);
  return out;
}

TEST(KernelTables, AttentionOverAllRows) {
  on_every_table([]<typename T>(const Kernels<T>& kernels) {
    const Int heads = 3;
    for (const Int dim : {1, 13, 20, 88}) {
      for (const Int count : {1, 6, 17, 67}) {
        const Tensor rows = random<T>({count, 3, heads, dim}, 1);
        const auto parts = exact(rows).unbind(1);  // [count, heads, dim]
        const Tensor scores = at::einsum("qhd,khd->hqk", {parts[0], parts[1]}) * 0.3;
        const Tensor expected = at::einsum("hqk,khd->qhd", {scores.softmax(-1), parts[2]});
        expect_close<T>(attention_over_all(kernels, rows, heads, dim), expected.flatten(1), "out",
                        2);
      }
    }
  });
}

// One token's queries over keys in lists of these lengths.
template <typename T>
Tensor token_attention(const Kernels<T>& kernels, const Tensor& q, const Tensor& k, const Tensor& v,
                       const std::vector<Int>& lengths) {
  const Int group = q.size(0), dim = q.size(1), keys = k.size(0);
  const Tensor out = at::full_like(q, NAN),
               scratch = at::full({token_attention_scratch(keys, dim)}, NAN);
  std::vector<CachedKeys<T>> lists;
  Int begin = 0;
  for (const Int length : lengths) {
    lists.push_back({data<T>(k) + begin * dim, data<T>(v) + begin * dim, length});
    begin += length;
  }
  kernels.attend_token({.q = data<T>(q),
                        .out = data<T>(out),
                        .group = group,
                        .head_dim = dim,
                        .lists = lists.data(),
                        .count = std::ssize(lists),
                        .scale = 0.3f},
                       data<float>(scratch));
  return out;
}

TEST(KernelTables, AttentionOfOneTokenOverACache) {
  on_every_table([]<typename T>(const Kernels<T>& kernels) {
    for (const Int dim : {20, 64, 80, 131}) {
      for (const Int keys : {1, 6, 41}) {
        const Int group = 3;
        const Tensor q = random<T>({group, dim}, 1), k = random<T>({keys, dim}, 2),
                     v = random<T>({keys, dim}, 3);
        const Tensor expected =
            causal(exact(q).unsqueeze(0), exact(k), exact(v), keys - 1, 0.3).squeeze(0);
        const Tensor whole = token_attention(kernels, q, k, v, {keys});
        expect_close<T>(whole, expected, "out", 2);
        const Int third = keys / 3, sixth = keys / 6, rest = keys - third - sixth;
        for (const std::vector<Int>& lengths :
             {std::vector<Int>{0, keys}, {third, keys - third}, {third, sixth, rest}, {keys, 0}}) {
          EXPECT_TRUE(at::equal(token_attention(kernels, q, k, v, lengths), whole))
              << lengths.size() << " lists of " << keys;
        }
      }
    }
  });
}

template <typename T>
void expect_causal_gradient(const Kernels<T>& kernels, Int tokens, Int group, Int dim,
                            Int window = 0) {
  AttentionShape shape{0, tokens, group, dim, group * dim, dim, group * dim, 0.3f};
  shape.window = window;
  const Tensor q = random<T>({tokens, group, dim}, 1), k = random<T>({tokens, dim}, 2),
               v = random<T>({tokens, dim}, 3), dout = random<T>({tokens, group, dim}, 4);
  const Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
  const Tensor scratch = at::full({attention_scratch(shape)}, NAN);
  kernels.attention_backward(data<T>(q), data<T>(k), data<T>(v), data<T>(dout), data<T>(dq),
                             data<T>(dk), data<T>(dv), shape, data<float>(scratch));
  const Tensor at_q = exact(q).requires_grad_(), at_k = exact(k).requires_grad_(),
               at_v = exact(v).requires_grad_();
  const auto expected = torch::autograd::grad({causal(at_q, at_k, at_v, 0, 0.3, window)},
                                              {at_q, at_k, at_v}, {exact(dout)});
  expect_close<T>(dq, expected[0], "dq", 2);
  expect_close<T>(dk, expected[1], "dk", 2);
  expect_close<T>(dv, expected[2], "dv", 2);
}

TEST(KernelTables, CausalAttentionsGradient) {
  on_every_table([]<typename T>(const Kernels<T>& kernels) {
    expect_causal_gradient(kernels, 19, 2, 12);
    expect_causal_gradient(kernels, 67, 3, 20);  // several blocks of tokens
    for (const Int window : {1, 7, 33}) expect_causal_gradient(kernels, 67, 3, 20, window);
    expect_causal_gradient(kernels, 3, 100, 8);  // a token a block
  });
}

// Queries 0..3 see external rows 1..3 and then rows 2..6 of their own matrix; queries 4..8 see rows
// 0..20, causally; query 9 sees these too, all of them.
const std::vector<AttentionSegment>& segments() {
  static const std::vector<AttentionSegment> all{{.q_begin = 0,
                                                  .q_count = 4,
                                                  .o_begin = 6,
                                                  .a_begin = 1,
                                                  .a_count = 3,
                                                  .b_begin = 2,
                                                  .b_count = 5,
                                                  .causal = false,
                                                  .external = true},
                                                 {.q_begin = 4,
                                                  .q_count = 5,
                                                  .o_begin = 1,
                                                  .a_begin = 0,
                                                  .a_count = 4,
                                                  .b_begin = 4,
                                                  .b_count = 17,
                                                  .causal = true,
                                                  .external = false},
                                                 {.q_begin = 9,
                                                  .q_count = 1,
                                                  .o_begin = 0,
                                                  .a_begin = 0,
                                                  .a_count = 4,
                                                  .b_begin = 4,
                                                  .b_count = 17,
                                                  .causal = false,
                                                  .external = false}};
  return all;
}

constexpr Int kQueries = 10, kKeys = 21, kExternal = 5, kHeads = 2, kSize = 10;
constexpr Int kWide = kHeads * kSize;

// The factors of one row's probabilities.
Tensor kept(std::uint64_t seed, Int row, Int keys, double p) {
  Tensor factors = at::ones({keys}, at::kDouble);
  const auto own = static_cast<std::uint32_t>(derive_seed(seed, row));
  for (Int i = 0; i < keys && p > 0; ++i) {
    std::uint32_t x = own ^ (static_cast<std::uint32_t>(i) * 0x9e3779b9u);
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    x ^= x >> 16;
    factors[i] = x < p * 4294967296.0 ? 0.0 : 1 / (1 - p);
  }
  return factors;
}

struct Matrices {
  Tensor q, k, v, external_k, external_v;
};

// One head of one segment's query row.
Tensor attended_row(const Matrices& m, const AttentionSegment& s, Int row, Int head, double dropout,
                    Int place) {
  const auto columns = [head](const Tensor& x) { return x.narrow(1, head * kSize, kSize); };
  const Tensor a_keys = columns(s.external ? m.external_k : m.k).narrow(0, s.a_begin, s.a_count);
  const Tensor a_values = columns(s.external ? m.external_v : m.v).narrow(0, s.a_begin, s.a_count);
  const Int seen = s.causal ? std::min<Int>(s.b_count, row + 1) : s.b_count;
  const Tensor keys = at::cat({a_keys, columns(m.k).narrow(0, s.b_begin, seen)});
  const Tensor values = at::cat({a_values, columns(m.v).narrow(0, s.b_begin, seen)});
  const Tensor scores = keys.mv(columns(m.q)[s.q_begin + row]) * 0.4;
  return (scores.softmax(0) * kept(5, place, keys.size(0), dropout)).matmul(values);
}

// [kQueries, kWide]
Tensor attended(const Matrices& m, double dropout) {
  std::vector<Tensor> heads;
  for (Int head = 0; head < kHeads; ++head) {
    std::vector<Tensor> rows(kQueries);
    for (const AttentionSegment& s : segments()) {
      for (Int i = 0; i < s.q_count; ++i) {
        const Int out = s.o_begin + i;
        rows[static_cast<std::size_t>(out)] =
            attended_row(m, s, i, head, dropout, head * kQueries + out);
      }
    }
    heads.push_back(at::stack(rows));
  }
  return at::cat(heads, 1);
}

template <typename T>
SegmentAttention<T> arguments(const Matrices& m, const Tensor& out, const Tensor& log_total,
                              float dropout) {
  return {.q = data<T>(m.q),
          .k = data<T>(m.k),
          .v = data<T>(m.v),
          .external_k = data<T>(m.external_k),
          .external_v = data<T>(m.external_v),
          .q_stride = kWide,
          .kv_stride = kWide,
          .external_stride = kWide,
          .segments = segments().data(),
          .segment_count = std::ssize(segments()),
          .heads = kHeads,
          .head_size = kSize,
          .out_rows = kQueries,
          .scale = 0.4f,
          .dropout = dropout,
          .seed = 5,
          .out = data<T>(out),
          .log_total = data<float>(log_total)};
}

template <typename T>
void check_segments(const Kernels<T>& kernels, float dropout) {
  const Matrices m{random<T>({kQueries, kWide}, 1), random<T>({kKeys, kWide}, 2),
                   random<T>({kKeys, kWide}, 3), random<T>({kExternal, kWide}, 4),
                   random<T>({kExternal, kWide}, 5)};
  const Tensor out = at::empty_like(m.q), log_total = at::empty({kHeads, kQueries});
  const SegmentAttention<T> forward = arguments<T>(m, out, log_total, dropout);
  for (Int head = 0; head < kHeads; ++head) kernels.attend(forward, head);
  const Matrices e{exact(m.q).requires_grad_(), exact(m.k).requires_grad_(),
                   exact(m.v).requires_grad_(), exact(m.external_k).requires_grad_(),
                   exact(m.external_v).requires_grad_()};
  const Tensor expected = attended(e, dropout);
  expect_close<T>(out, expected, "out", 2);

  const Tensor dout = random<T>({kQueries, kWide}, 6);
  const Matrices d{at::empty_like(m.q), at::empty_like(m.k), at::empty_like(m.v),
                   at::empty_like(m.external_k), at::empty_like(m.external_v)};
  const SegmentAttentionGradient<T> backward{.forward = forward,
                                             .out_gradient = data<T>(dout),
                                             .q = data<T>(d.q),
                                             .k = data<T>(d.k),
                                             .v = data<T>(d.v),
                                             .external_k = data<T>(d.external_k),
                                             .external_v = data<T>(d.external_v),
                                             .q_stride = kWide,
                                             .kv_stride = kWide,
                                             .external_stride = kWide,
                                             .q_rows = kQueries,
                                             .kv_rows = kKeys,
                                             .external_rows = kExternal};
  for (Int head = 0; head < kHeads; ++head) kernels.attend_backward(backward, head);
  const auto wanted =
      torch::autograd::grad({expected}, {e.q, e.k, e.v, e.external_k, e.external_v}, {exact(dout)});
  const Tensor got[] = {d.q, d.k, d.v, d.external_k, d.external_v};
  const char* names[] = {"dq", "dk", "dv", "external dk", "external dv"};
  for (std::size_t i = 0; i < wanted.size(); ++i) expect_close<T>(got[i], wanted[i], names[i], 3);
}

TEST(KernelTables, SegmentAttention) {
  on_every_table([]<typename T>(const Kernels<T>& kernels) { check_segments(kernels, 0.0f); });
}

TEST(KernelTables, SegmentAttentionWithDropout) {
  on_every_table([]<typename T>(const Kernels<T>& kernels) { check_segments(kernels, 0.3f); });
}

}  // namespace
}  // namespace blip2
