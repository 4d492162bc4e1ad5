#include "blip2/qformer/layer_functions_internal.h"

#include <algorithm>
#include <vector>

#include "blip2/nn/padded_rows.h"
#include "blip2/qformer/threads.h"

namespace blip2 {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct GeluFunction : torch::autograd::Function<GeluFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& u, const Tensor& bias) {
    ctx->save_for_backward({u, bias});
    Tensor out = padded_empty(u.size(0), u.size(1), u.options());
    with_kernel_type(u.scalar_type(), [&]<typename T>() {
      for_chunks(u.size(0), [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        kernels<T>().gelu(data_of<T>(u), data_of<float>(bias), data_of<T>(out), u.size(1), begin,
                          end);
      });
    });
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &u = saved[0], &bias = saved[1], gradient = gradients[0].contiguous();
    Tensor u_gradient = padded_empty(u.size(0), u.size(1), u.options());
    const Tensor sums = at::zeros({kChunks, u.size(1)}, bias.options());
    with_kernel_type(u.scalar_type(), [&]<typename T>() {
      for_chunks(u.size(0), [&](std::int64_t chunk, std::int64_t begin, std::int64_t end) {
        kernels<T>().gelu_backward(data_of<T>(u), data_of<float>(bias), data_of<T>(gradient),
                                   data_of<T>(u_gradient), data_of<float>(sums) + chunk * u.size(1),
                                   u.size(1), begin, end);
      });
    });
    return {u_gradient, sums.sum(0)};
  }
};

Tensor index_tensor(const std::vector<std::int32_t>& values) {
  Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())}, at::kInt);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<std::int32_t>());
  return tensor;
}

// Sums of the gradient's rows that continue each input row.
Tensor sum_continuations(const Tensor& gradient, const Tensor& source, std::int64_t inputs) {
  const auto* from = source.const_data_ptr<std::int32_t>();
  std::vector<std::int32_t> starts(inputs + 1, 0), outputs(source.numel());
  for (std::int64_t o = 0; o < source.numel(); ++o) ++starts[from[o] + 1];
  for (std::int64_t i = 0; i < inputs; ++i) starts[i + 1] += starts[i];
  std::vector<std::int32_t> next(starts.begin(), starts.end() - 1);
  for (std::int64_t o = 0; o < source.numel(); ++o) {
    outputs[next[from[o]]++] = static_cast<std::int32_t>(o);
  }
  Tensor sums = at::empty({inputs, gradient.size(1)}, gradient.options());
  with_kernel_type(gradient.scalar_type(), [&]<typename T>() {
    at::parallel_for(0, inputs, 32, [&](std::int64_t begin, std::int64_t end) {
      kernels<T>().sum_rows(data_of<T>(gradient), data_of<T>(sums), starts.data(), outputs.data(),
                            gradient.size(1), begin, end);
    });
  });
  return sums;
}

struct AddNormFunction : torch::autograd::Function<AddNormFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& a, const Tensor& bias, const Tensor& x,
                        const Tensor& weight, const Tensor& offset, const MaybeTensor& source,
                        double eps, double dropout, std::int64_t seed) {
    const std::int64_t rows = a.size(0), width = a.size(1);
    Tensor y = padded_empty(rows, width, a.options());
    const Tensor statistics = at::empty({2, rows}, weight.options());
    with_kernel_type(a.scalar_type(), [&]<typename T>() {
      const AddNorm<T> args{.a = data_of<T>(a),
                            .x = data_of<T>(x),
                            .source = source ? data_of<std::int32_t>(*source) : nullptr,
                            .bias = data_of<float>(bias),
                            .weight = data_of<float>(weight),
                            .offset = data_of<float>(offset),
                            .y = data_of<T>(y),
                            .mean = data_of<float>(statistics),
                            .scale = data_of<float>(statistics) + rows,
                            .width = width,
                            .eps = static_cast<float>(eps),
                            .dropout = static_cast<float>(dropout),
                            .seed = static_cast<std::uint64_t>(seed)};
      for_chunks(rows, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        kernels<T>().add_norm(args, begin, end);
      });
    });
    ctx->saved_data["sum"] = a.detach();  // overwritten above, so not saved as an input
    ctx->save_for_backward({statistics, weight, source.value_or(Tensor())});
    ctx->saved_data["inputs"] = x.size(0);
    ctx->saved_data["dropout"] = dropout;
    ctx->saved_data["seed"] = seed;
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor sum = ctx->saved_data["sum"].toTensor(), &statistics = saved[0],
                 &weight = saved[1], &source = saved[2], gradient = gradients[0].contiguous();
    const double dropout = ctx->saved_data["dropout"].toDouble();
    const std::int64_t rows = sum.size(0), width = sum.size(1);
    Tensor sum_gradient = padded_empty(rows, width, sum.options());
    Tensor a_gradient = dropout > 0 ? padded_empty(rows, width, sum.options()) : sum_gradient;
    const Tensor parts = at::zeros({kChunks, 3, width}, weight.options());
    with_kernel_type(sum.scalar_type(), [&]<typename T>() {
      for_chunks(rows, [&](std::int64_t chunk, std::int64_t begin, std::int64_t end) {
        float* own = data_of<float>(parts) + chunk * 3 * width;
        const AddNormGradient<T> args{
            .sum = data_of<T>(sum),
            .y_gradient = data_of<T>(gradient),
            .mean = data_of<float>(statistics),
            .scale = data_of<float>(statistics) + rows,
            .weight = data_of<float>(weight),
            .sum_gradient = data_of<T>(sum_gradient),
            .a_gradient = data_of<T>(a_gradient),
            .bias = own,
            .weight_gradient = own + width,
            .offset = own + 2 * width,
            .width = width,
            .dropout = static_cast<float>(dropout),
            .seed = static_cast<std::uint64_t>(ctx->saved_data["seed"].toInt())};
        kernels<T>().add_norm_backward(args, begin, end);
      });
    });
    const Tensor sums = parts.sum(0);
    Tensor x = sum_gradient;
    if (source.defined()) {
      x = sum_continuations(sum_gradient, source, ctx->saved_data["inputs"].toInt());
    }
    return {a_gradient, sums[0], x, sums[1], sums[2], Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

struct JoinFunction : torch::autograd::Function<JoinFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& above, const Tensor& below) {
    const std::int64_t first = above.size(0), second = below.size(0);
    ctx->saved_data["first"] = first;
    Tensor out = padded_empty(first + second, above.size(1), above.options());
    out.narrow(0, 0, first).copy_(above);
    out.narrow(0, first, second).copy_(below);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const std::int64_t first = ctx->saved_data["first"].toInt();
    const std::int64_t second = gradients[0].size(0) - first;
    return {gradients[0].narrow(0, 0, first), gradients[0].narrow(0, first, second)};
  }
};

struct GatherFunction : torch::autograd::Function<GatherFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& table, const Tensor& ids) {
    ctx->save_for_backward({ids});
    ctx->saved_data["rows"] = table.size(0);
    return table.index_select(0, ids);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const Tensor ids = ctx->get_saved_variables()[0], gradient = gradients[0].contiguous();
    const std::int64_t width = gradient.size(1);
    Tensor table = at::zeros({ctx->saved_data["rows"].toInt(), width}, gradient.options());
    const auto* row = ids.const_data_ptr<std::int64_t>();
    const float* in = gradient.const_data_ptr<float>();
    for (std::int64_t i = 0; i < ids.numel(); ++i) {
      float* out = table.mutable_data_ptr<float>() + row[i] * width;
      for (std::int64_t j = 0; j < width; ++j) out[j] += in[i * width + j];
    }
    return {table, Tensor()};
  }
};

}  // namespace

at::Tensor gelu_of(const at::Tensor& u, const at::Tensor& bias) {
  return GeluFunction::apply(u, bias);
}

at::Tensor add_norm(const at::Tensor& a, const at::Tensor& bias, const at::Tensor& x,
                    const Continuation& rows, const Norm& norm, const Dropout& dropout) {
  const MaybeTensor source =
      rows.identity ? std::nullopt : std::optional(index_tensor(rows.source));
  return AddNormFunction::apply(a, bias, x.contiguous(), norm.weight, norm.bias, source, norm.eps,
                                dropout.probability, static_cast<std::int64_t>(dropout.seed));
}

at::Tensor join_rows(const at::Tensor& above, const at::Tensor& below) {
  return JoinFunction::apply(above, below);
}

at::Tensor gather_rows(const at::Tensor& table, const at::Tensor& ids) {
  return GatherFunction::apply(table, ids);
}

}  // namespace blip2
