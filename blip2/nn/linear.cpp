#include "blip2/nn/linear.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "blip2/nn/element_type.h"
#include "blip2/nn/kernels/block_kernels_internal.h"
#include "blip2/nn/packed_matrix.h"
#include "blip2/nn/padded_rows.h"

namespace blip2 {
namespace {

using Int = std::int64_t;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr Int kTileOuts = 64;  // rows of an int8 matrix that are widened at once

std::optional<at::Tensor> maybe(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

// Sums of the columns of [M, N] in f32.
at::Tensor column_sums(const at::Tensor& matrix) {
  const Int rows = matrix.size(0), width = matrix.size(1);
  at::Tensor sums = at::zeros({width}, matrix.options().dtype(at::kFloat));
  with_element(matrix.scalar_type(), [&]<typename T>() {
    at::parallel_for(0, width, 192, [&](Int begin, Int end) {
      kernels<T>().column_sums(static_cast<const T*>(matrix.const_data_ptr()),
                               sums.mutable_data_ptr<float>(), rows, width, begin, end);
    });
  });
  return sums;
}

// The product of parameters in f32 with copies of them in the type of x.
struct TrainedProduct : torch::autograd::Function<TrainedProduct> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& /*weight*/,
                            const std::optional<at::Tensor>& bias, const at::Tensor& copy,
                            const std::optional<at::Tensor>& bias_copy) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;  // a slice is no view for autograd
    const at::Tensor rows = pad_rows(x);
    ctx->save_for_backward({rows, copy});
    ctx->saved_data["bias"] = bias.has_value();
    return at::linear(rows, copy, bias_copy).narrow(0, 0, x.size(0));
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor gradient = gradients[0].contiguous(), rows = pad_rows(gradient);
    at::Tensor x, weight, bias;
    if (ctx->needs_input_grad(0)) x = at::mm(rows, saved[1]).narrow(0, 0, gradient.size(0));
    if (ctx->needs_input_grad(1)) weight = at::mm(rows.t(), saved[0]).to(at::kFloat);
    if (ctx->saved_data["bias"].toBool()) bias = column_sums(gradient);
    return {x, weight, bias, at::Tensor(), at::Tensor()};
  }
};

// The product that keeps no wider copy of an int8 matrix for the backward pass.
struct Int8Product : torch::autograd::Function<Int8Product> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& values,
                            const at::Tensor& scale) {
    ctx->save_for_backward({values, scale});
    return at::matmul(x, values.to(x.scalar_type()).t()).mul_(scale);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const at::ScalarType type = gradients[0].scalar_type();
    const at::Tensor dy = (gradients[0] * saved[1]).to(type);
    return {at::matmul(dy, saved[0].to(type)), at::Tensor(), at::Tensor()};
  }
};

// y = values as T, which half precision holds exactly.
template <typename T>
void widen(const std::int8_t* values, Int count, T* y) {
  std::array<float, 512> part;
  for (Int begin = 0; begin < count; begin += std::ssize(part)) {
    const Int length = std::min<Int>(std::ssize(part), count - begin);
    for (Int i = 0; i < length; ++i) {
      part[static_cast<std::size_t>(i)] = static_cast<float>(values[begin + i]);
    }
    kernels<T>().narrow(part.data(), y + begin, length);
  }
}

// Puts sums * scale where they belong. As a T they are rounded before and after, as by ATen.
template <typename T>
void store_scaled(float* sums, const float* scale, Int count, Store store, void* y) {
  T* const value = static_cast<T*>(y);
  if (store == Store::value) {
    constexpr float kZeros[kTileOuts] = {};
    kernels<T>().narrow(sums, value, count);
    kernels<T>().add(kZeros, value, sums, count);
  }
  for (Int i = 0; i < count; ++i) sums[i] *= scale[i];
  if (store == Store::value) return kernels<T>().narrow(sums, value, count);
  float* const out = static_cast<float*>(y);
  for (Int i = 0; i < count; ++i) out[i] = (store == Store::add_f32 ? out[i] : 0.0f) + sums[i];
}

// The outs [from, to) of a product, some rows of the matrix at a time as T.
template <typename T>
void multiply_int8(const Int8Matrix& matrix, const T* x, Int rows, Int from, Int to, Store store,
                   std::byte* y, Int stride) {
  const Int width = matrix.values.size(1), most = std::min(kTileOuts, to - from);
  const Int size = store == Store::value ? static_cast<Int>(sizeof(T)) : 4;
  const std::int8_t* values = matrix.values.const_data_ptr<std::int8_t>();
  const float* scale = matrix.scale.const_data_ptr<float>();
  std::vector<T> tile(static_cast<std::size_t>(most * width));
  std::vector<float> sums(static_cast<std::size_t>(rows * most));
  for (Int begin = from; begin < to; begin += kTileOuts) {
    const Int count = std::min(kTileOuts, to - begin);
    widen(values + begin * width, count * width, tile.data());
    kernels<T>().linear(x, rows, width, tile.data(), 0, count, Store::value_f32, sums.data(),
                        count);
    for (Int row = 0; row < rows; ++row) {
      store_scaled<T>(sums.data() + row * count, scale + begin, count, store,
                      y + (row * stride + begin) * size);
    }
  }
}

// Adds the bias of [from, to) outs to every row of y, whose elements are T or f32.
template <typename T>
void add_bias(const float* bias, Int from, Int to, Int rows, T* y, Int stride) {
  for (Int row = 0; row < rows; ++row) {
    kernels<T>().add_bias(y + row * stride + from, bias + from, 1, to - from);
  }
}

at::Tensor widened(const at::Tensor& bias) {
  return bias.defined() ? bias.to(at::kFloat).contiguous() : at::Tensor();
}

}  // namespace

Linear::Linear(at::Tensor weight, at::Tensor bias) : parts{{std::move(weight), std::move(bias)}} {
  blocks_ = {{parts[0].weight, parts[0].bias, {}}};
}

Linear Linear::trained(const at::Tensor& weight, const at::Tensor& bias, at::ScalarType type) {
  Linear linear(weight.detach().to(type), bias.defined() ? bias.detach().to(type) : bias);
  // Without a gradient nobody needs the numbers beside their copy.
  if (weight.requires_grad()) linear.parts[0].weight = weight;
  linear.parts[0].bias = bias;
  linear.trained_ = true;
  return linear;
}

void Linear::hold(MatrixForm form) {
  blocks_.clear();
  if (form != MatrixForm::joined && form != MatrixForm::int8) {
    for (const Part& part : parts) {
      blocks_.push_back({part.weight, part.bias, widened(part.bias)});
      Block& block = blocks_.back();
      if (part.blocks.defined()) {
        block.numbers = part.blocks;
      } else if (form == MatrixForm::packed && can_pack(part.weight)) {
        block.packed = pack_matrix(part.weight);
      }
    }
    return;
  }
  const Part whole = join();
  blocks_.push_back({whole.weight, whole.bias, widened(whole.bias)});
  if (form == MatrixForm::joined) return;
  blocks_[0].numbers = to_int8(whole.weight);
  for (Part& part : parts) part = {};
}

// Lays the parts together and makes them slices of the result.
Linear::Part Linear::join() {
  if (parts.size() == 1) return parts[0];
  std::vector<at::Tensor> weights, biases;
  for (const Part& part : parts) {
    weights.push_back(part.weight);
    if (part.bias.defined()) biases.push_back(part.bias);
  }
  TORCH_CHECK(biases.empty() || biases.size() == weights.size(), "some of the parts have no bias");
  const Part whole{at::cat(weights), biases.empty() ? at::Tensor() : at::cat(biases)};
  Int begin = 0;
  for (Part& part : parts) {
    const Int outs = part.weight.size(0);
    part.weight = whole.weight.narrow(0, begin, outs);
    if (part.bias.defined()) part.bias = whole.bias.narrow(0, begin, outs);
    begin += outs;
  }
  return whole;
}

// Of a variant's alternatives, tensors have their sizes, a matrix in blocks has names for them.
Int Linear::Block::ins() const {
  if (const auto* blocks = std::get_if<BlockMatrix>(&numbers)) return blocks->width();
  const auto* int8 = std::get_if<Int8Matrix>(&numbers);
  return (int8 ? int8->values : std::get<at::Tensor>(numbers)).size(1);
}

Int Linear::Block::outs() const {
  if (const auto* blocks = std::get_if<BlockMatrix>(&numbers)) return blocks->outs();
  const auto* int8 = std::get_if<Int8Matrix>(&numbers);
  return (int8 ? int8->values : std::get<at::Tensor>(numbers)).size(0);
}

Int Linear::ins() const {
  return blocks_.at(0).ins();
}

Int Linear::outs() const {
  Int outs = 0;
  for (const Block& block : blocks_) outs += block.outs();
  return outs;
}

std::int64_t Linear::bytes() const {
  Int bytes = low_rank ? low_rank->bytes() : 0;
  for (const Block& block : blocks_) {
    if (const auto* blocks = std::get_if<BlockMatrix>(&block.numbers)) {
      bytes += blocks->bytes();
    } else if (const auto* int8 = std::get_if<Int8Matrix>(&block.numbers)) {
      bytes += static_cast<Int>(int8->values.nbytes() + int8->scale.nbytes());
    } else {
      bytes += static_cast<Int>(std::get<at::Tensor>(block.numbers).nbytes());
    }
    if (block.packed.defined()) bytes += 2 * block.packed.numel();
    if (block.bias.defined()) bytes += static_cast<Int>(block.bias.nbytes());
  }
  return bytes;
}

bool Linear::in_blocks() const {
  return std::any_of(blocks_.begin(), blocks_.end(), [](const Block& block) {
    return std::holds_alternative<BlockMatrix>(block.numbers);
  });
}

at::Tensor Linear::matrix(at::ScalarType type) const {
  const auto* only = std::get_if<at::Tensor>(&blocks_.at(0).numbers);
  if (blocks_.size() == 1 && only) return only->to(type);
  at::Tensor whole = at::empty({outs(), ins()}, type);
  Int begin = 0;
  for (const Block& block : blocks_) {
    at::Tensor rows = whole.narrow(0, begin, block.outs());
    if (const auto* blocks = std::get_if<BlockMatrix>(&block.numbers)) {
      blocks->widen_into(rows);
    } else if (const auto* int8 = std::get_if<Int8Matrix>(&block.numbers)) {
      rows.copy_(int8->values * int8->scale.unsqueeze(1));
    } else {
      rows.copy_(std::get<at::Tensor>(block.numbers));
    }
    begin += block.outs();
  }
  return whole;
}

// Several blocks are laid together for this one product, which so rounds as that of a joined
// matrix.
Linear::Whole Linear::whole(at::ScalarType type) const {
  const Block& first = blocks_.at(0);
  if (const auto* int8 = std::get_if<Int8Matrix>(&first.numbers)) {
    return {int8->values.to(type), int8->scale, first.bias};
  }
  const auto* only = std::get_if<at::Tensor>(&first.numbers);
  if (blocks_.size() == 1 && only) return {*only, {}, first.bias};
  std::vector<at::Tensor> biases;
  for (const Block& block : blocks_) {
    if (block.bias.defined()) biases.push_back(block.bias);
  }
  return {matrix(type), {}, biases.empty() ? at::Tensor() : at::cat(biases)};
}

at::Tensor Linear::product(const at::Tensor& x, bool with_bias) const {
  const at::Tensor y = plain_product(x, with_bias);
  return low_rank ? low_rank->added(x, y) : y;
}

at::Tensor Linear::plain_product(const at::Tensor& x, bool with_bias) const {
  const auto bias_of = [&](const at::Tensor& bias) { return with_bias ? bias : at::Tensor(); };
  const Block& first = blocks_.at(0);
  if (trained_) {
    return TrainedProduct::apply(x, parts[0].weight, maybe(bias_of(parts[0].bias)),
                                 std::get<at::Tensor>(first.numbers), maybe(bias_of(first.bias)));
  }
  if (const auto* int8 = std::get_if<Int8Matrix>(&first.numbers)) {
    const at::Tensor y = Int8Product::apply(x, int8->values, int8->scale),
                     bias = bias_of(first.bias);
    return bias.defined() ? y + bias : y;
  }
  const Whole all = whole(x.scalar_type());
  return at::linear(x, all.matrix, maybe(bias_of(all.bias)));
}

void Linear::multiply_into(const at::Tensor& x, at::Tensor& y) const {
  const Whole all = whole(x.scalar_type());
  if (all.bias.defined() && !all.scale.defined()) {
    at::addmm_out(y, all.bias, x, all.matrix.t());
    return;
  }
  at::mm_out(y, x, all.matrix.t());
  if (all.scale.defined()) y.mul_(all.scale);
  if (all.bias.defined()) y.add_(all.bias);
}

void Linear::gradient_into(const at::Tensor& dy, at::Tensor& dx) const {
  const Whole all = whole(dy.scalar_type());
  at::mm_out(dx, all.scale.defined() ? (dy * all.scale).to(dy.scalar_type()) : dy, all.matrix);
}

at::Tensor Linear::frozen(const at::Tensor& x, bool with_bias) const {
  if (in_blocks()) return each_row(x, with_bias);
  const at::NoGradGuard no_grad;
  if (low_rank || (blocks_.size() == 1 && !blocks_[0].packed.defined())) {
    return product(x, with_bias);
  }
  std::vector<at::Tensor> results;
  for (const Block& block : blocks_) {
    const at::Tensor bias = with_bias ? block.bias : at::Tensor();
    results.push_back(block.packed.defined()
                          ? packed_product(x, block.packed, bias)
                          : at::linear(x, std::get<at::Tensor>(block.numbers), maybe(bias)));
  }
  return results.size() == 1 ? results[0] : at::cat(results, -1);
}

at::Tensor Linear::each_row(const at::Tensor& x, bool with_bias) const {
  const at::Tensor rows = x.contiguous();
  at::Tensor y = at::empty({x.size(0), outs()}, x.options().requires_grad(false));
  with_element(x.scalar_type(), [&]<typename T>() {
    each_row(static_cast<const T*>(rows.const_data_ptr()), rows.size(0), Store::value,
             y.mutable_data_ptr(), y.size(1), with_bias);
  });
  return y;
}

// The outs are shared out over the threads in runs of a multiple of four, or of a group of blocks.
template <typename T>
void Linear::each_row(const T* x, Int rows, Store store, void* y, Int stride,
                      bool with_bias) const {
  const Int size = store == Store::value ? static_cast<Int>(sizeof(T)) : 4;
  const Int run = in_blocks() ? kGroupOuts : 4;
  const Rows<T> from_rows{x, rows, in_blocks() ? quantise_rows(x, rows, ins()) : nullptr,
                          with_bias};
  Int total = 0;
  for (const Block& block : blocks_) total += (block.outs() + run - 1) / run;
  at::parallel_for(0, total, 1, [&](Int begin, Int end) {
    Int first = 0;
    std::byte* out = static_cast<std::byte*>(y);
    for (const Block& block : blocks_) {
      const Int outs = block.outs(), runs = (outs + run - 1) / run;
      const Int from = std::clamp<Int>(begin - first, 0, runs) * run;
      const Int to = std::min(std::clamp<Int>(end - first, 0, runs) * run, outs);
      if (from < to) multiply_block(block, from_rows, from, to, store, out, stride);
      first += runs;
      out += outs * size;
    }
  });
  if (low_rank) low_rank->add_rows(x, rows, store, y, stride);
}

template <typename T>
void Linear::multiply_block(const Block& block, const Rows<T>& from_rows, Int from, Int to,
                            Store store, std::byte* y, Int stride) {
  const T* const x = from_rows.x;
  const Int rows = from_rows.count;
  if (const auto* blocks = std::get_if<BlockMatrix>(&block.numbers)) {
    block_kernels<T>().multiply(blocks->view(), from_rows.quantised.get(), rows, from / kGroupOuts,
                                (to + kGroupOuts - 1) / kGroupOuts, store, y, stride);
  } else if (const auto* int8 = std::get_if<Int8Matrix>(&block.numbers)) {
    multiply_int8(*int8, x, rows, from, to, store, y, stride);
  } else {
    const at::Tensor& weight = std::get<at::Tensor>(block.numbers);
    TORCH_CHECK(weight.scalar_type() == kScalarType<T>, "expected rows of ", weight.scalar_type());
    kernels<T>().linear(x, rows, weight.size(1), static_cast<const T*>(weight.const_data_ptr()),
                        from, to, store, y, stride);
  }
  if (!block.bias.defined() || !from_rows.with_bias) return;
  TORCH_CHECK(block.bias_f32.defined(), "hold() has not been called");
  const float* bias = block.bias_f32.const_data_ptr<float>();
  if (store == Store::value) {
    add_bias(bias, from, to, rows, reinterpret_cast<T*>(y), stride);
  } else {
    add_bias(bias, from, to, rows, reinterpret_cast<float*>(y), stride);
  }
}

template void Linear::each_row(const float*, Int, Store, void*, Int, bool) const;
template void Linear::each_row(const Bf16*, Int, Store, void*, Int, bool) const;
template void Linear::each_row(const F16*, Int, Store, void*, Int, bool) const;

}  // namespace blip2
