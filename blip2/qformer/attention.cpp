#include <cmath>
#include <cstring>
#include <optional>

#include "blip2/nn/padded_rows.h"
#include "blip2/qformer/layer_functions_internal.h"
#include "blip2/qformer/threads.h"

namespace blip2 {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Segments as bytes, so that a backward pass can keep them.
Tensor as_bytes(const std::vector<AttentionSegment>& segments) {
  const auto size = static_cast<std::int64_t>(segments.size() * sizeof(AttentionSegment));
  Tensor bytes = at::empty({size}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), segments.data(),
              segments.size() * sizeof(AttentionSegment));
  return bytes;
}

// Where queries, keys and values lie: columns of `queries` and `keys` (the same matrix in
// self-attention), keys from `key_column`.
struct Sources {
  Tensor queries, keys, external;
  std::int64_t width, key_column;
};

template <typename T>
SegmentAttention<T> arguments(const Sources& from, const Tensor& segments, std::int64_t heads,
                              double dropout, std::int64_t seed, const Tensor& out,
                              const Tensor& log_total) {
  const T* keys = data_of<T>(from.keys) + from.key_column;
  const bool external = from.external.defined();
  const T* outside = external ? data_of<T>(from.external) + from.key_column : nullptr;
  const std::int64_t head_size = from.width / heads;
  return {.q = data_of<T>(from.queries),
          .k = keys,
          .v = keys + from.width,
          .external_k = outside,
          .external_v = outside ? outside + from.width : nullptr,
          .q_stride = from.queries.stride(0),
          .kv_stride = from.keys.stride(0),
          .external_stride = external ? from.external.stride(0) : 0,
          .segments =
              reinterpret_cast<const AttentionSegment*>(segments.const_data_ptr<std::uint8_t>()),
          .segment_count = segments.numel() / static_cast<std::int64_t>(sizeof(AttentionSegment)),
          .heads = heads,
          .head_size = head_size,
          .out_rows = out.size(0),
          .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(head_size))),
          .dropout = static_cast<float>(dropout),
          .seed = static_cast<std::uint64_t>(seed),
          .out = data_of<T>(out),
          .log_total = data_of<float>(log_total)};
}

// The gradient of an input; only self-attention's external matrix has columns (its queries') that
// the kernel does not write.
Tensor room_for(const Tensor& input) {
  if (!input.defined()) return Tensor();
  return padded_empty(input.size(0), input.size(1), input.options());
}

// Inputs: queries [M, >= D], keys [K, ...] (undefined: the queries' own matrix), external.
struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& queries, const MaybeTensor& own_keys,
                        const MaybeTensor& outside, const Tensor& segments, std::int64_t out_rows,
                        std::int64_t width, std::int64_t heads, double dropout, std::int64_t seed) {
    const Tensor keys = own_keys.value_or(Tensor()), external = outside.value_or(Tensor());
    const Sources from = sources(queries, keys, external, width);
    Tensor out = padded_empty(out_rows, width, queries.options());
    const Tensor log_total = at::empty({heads, out_rows}, queries.options().dtype(at::kFloat));
    with_kernel_type(queries.scalar_type(), [&]<typename T>() {
      const auto args = arguments<T>(from, segments, heads, dropout, seed, out, log_total);
      at::parallel_for(0, heads, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t h = begin; h < end; ++h) kernels<T>().attend(args, h);
      });
    });
    ctx->save_for_backward({queries, keys, external, segments, out, log_total});
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["dropout"] = dropout;
    ctx->saved_data["seed"] = seed;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &out = saved[4], gradient = gradients[0].contiguous();
    const std::int64_t heads = ctx->saved_data["heads"].toInt(), width = out.size(1);
    const Sources from = sources(saved[0], saved[1], saved[2], width);
    const Tensor queries = room_for(saved[0]);
    const Tensor external = saved[2].defined() ? at::zeros_like(saved[2]) : Tensor();
    const Tensor keys = saved[1].defined() ? room_for(saved[1]) : queries;
    with_kernel_type(out.scalar_type(), [&]<typename T>() {
      T* k = data_of<T>(keys) + from.key_column;
      T* outside = external.defined() ? data_of<T>(external) + from.key_column : nullptr;
      const SegmentAttentionGradient<T> args{
          .forward = arguments<T>(from, saved[3], heads, ctx->saved_data["dropout"].toDouble(),
                                  ctx->saved_data["seed"].toInt(), out, saved[5]),
          .out_gradient = data_of<T>(gradient),
          .q = data_of<T>(queries),
          .k = k,
          .v = k + width,
          .external_k = outside,
          .external_v = outside ? outside + width : nullptr,
          .q_stride = queries.stride(0),
          .kv_stride = keys.stride(0),
          .external_stride = external.defined() ? external.stride(0) : 0,
          .q_rows = queries.size(0),
          .kv_rows = keys.size(0),
          .external_rows = external.defined() ? external.size(0) : 0};
      at::parallel_for(0, heads, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t h = begin; h < end; ++h) kernels<T>().attend_backward(args, h);
      });
    });
    return {queries,  saved[1].defined() ? keys : Tensor(),
            external, Tensor(),
            Tensor(), Tensor(),
            Tensor(), Tensor(),
            Tensor()};
  }

  static Sources sources(const Tensor& queries, const Tensor& keys, const Tensor& external,
                         std::int64_t width) {
    const bool self = !keys.defined();
    return {queries, self ? queries : keys, external, width, self ? width : 0};
  }
};

}  // namespace

at::Tensor self_attention(const at::Tensor& qkv, const at::Tensor& external,
                          const std::vector<AttentionSegment>& segments, std::int64_t out_rows,
                          std::int64_t heads, const Dropout& dropout) {
  return AttentionFunction::apply(qkv, MaybeTensor(), maybe(external), as_bytes(segments), out_rows,
                                  qkv.size(1) / 3, heads, dropout.probability,
                                  static_cast<std::int64_t>(dropout.seed));
}

at::Tensor cross_attention(const at::Tensor& queries, const at::Tensor& keys_values,
                           const at::Tensor& external,
                           const std::vector<AttentionSegment>& segments, std::int64_t out_rows,
                           std::int64_t heads, const Dropout& dropout) {
  return AttentionFunction::apply(queries, maybe(keys_values), maybe(external), as_bytes(segments),
                                  out_rows, queries.size(1), heads, dropout.probability,
                                  static_cast<std::int64_t>(dropout.seed));
}

}  // namespace blip2
