#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "blip2/nn/block_matrix.h"
#include "blip2/nn/int8_matrix.h"
#include "blip2/nn/low_rank.h"

namespace blip2 {

enum class Store;  // of nn/kernels/kernels.h

// How a frozen model holds its matrices.
enum class MatrixForm {
  stored,  // each one as its file has it, mapped from the file if the file has it in the right type
  joined,  // the matrices that read the same rows as one matrix, in memory of its own
  int8,    // the same matrix in one byte an element, with a scale a row
  blocks,  // as `stored`, but those that a file has in GGUF's blocks stay in them
  packed,  // as `stored`, and in bf16 once more as this machine's products read them
           // (packed_matrix.h): twice the memory if the file's pages stay in it
};

// A linear layer y = x W^T + b. W may be several matrices one below another (queries, keys and
// values; gate and up): each row of x is read once for all of them, and their results lie side by
// side in a row of y. The numbers are f32, bf16, f16, int8 or in GGUF's blocks; no caller asks
// which. Products by nn/kernels with blocks take x in eight bits a block of 32 (block_layout.h).
//
// Copies share the tensors. Const functions may run on several threads at once.
class Linear {
 public:
  // One matrix as a file has it: [out, in], with a bias [out] or none. In blocks it has no weight.
  struct Part {
    at::Tensor weight, bias;
    BlockMatrix blocks = {};
  };

  Linear() = default;
  // One matrix, frozen or a parameter that autograd gives its gradient.
  explicit Linear(at::Tensor weight, at::Tensor bias = {});
  // Parameters in f32 that are computed with in `type` (f32 or bf16), as their values are now.
  // Their gradients are f32 and do not depend on the number of threads.
  static Linear trained(const at::Tensor& weight, const at::Tensor& bias, at::ScalarType type);

  // For loading and saving. Whoever fills them calls hold(); after hold(joined) they are slices of
  // the one matrix, after hold(int8) they are undefined. Blocks are held as `stored`, `blocks` or
  // `packed`.
  std::vector<Part> parts;
  void hold(MatrixForm form);

  // What is added to the frozen product, or null. Every product has it but those into memory for
  // training (multiply_into, gradient_into), whose callers add it.
  std::shared_ptr<const LowRank> low_rank;
  // Whether parameters beside the frozen numbers get gradients.
  bool trains() const { return low_rank && low_rank->trains(); }

  bool defined() const { return !blocks_.empty(); }
  // For a layer of one part: its weight and bias.
  const at::Tensor& weight() const { return parts.at(0).weight; }
  const at::Tensor& bias() const { return parts.at(0).bias; }
  std::int64_t ins() const;
  std::int64_t outs() const;
  // The bias of a layer of one part as hold() has widened it; undefined without one.
  const at::Tensor& bias_f32() const { return blocks_.at(0).bias_f32; }
  // Bytes of the matrices and biases as they are held, and of what is added to them.
  std::int64_t bytes() const;

  // The numbers [out, in] as f32, bf16 or f16: those that are held, if they are one matrix of that
  // type.
  at::Tensor matrix(at::ScalarType type) const;

  // x [..., in] -> [..., out] by ATen, of x's type. Differentiable by x and by parameters.
  at::Tensor operator()(const at::Tensor& x) const { return product(x, true); }
  at::Tensor without_bias(const at::Tensor& x) const { return product(x, false); }

  // The product without autograd, written into existing memory: x [N, in] -> y [N, out]. Autograd's
  // dispatch must be off.
  void multiply_into(const at::Tensor& x, at::Tensor& y) const;
  // The gradient of x for that of y: dy [N, out] -> dx [N, in].
  void gradient_into(const at::Tensor& dy, at::Tensor& dx) const;

  // x [N, in] -> [N, out] of x's type without autograd, by the fastest way that there is for many
  // rows: nn/kernels for blocks, else ATen, whose rounding depends on the number of rows.
  at::Tensor frozen(const at::Tensor& x, bool with_bias = true) const;

  // x [N, in] -> [N, out] of x's type by nn/kernels, without autograd: a row's result does not
  // depend on the rows beside it.
  at::Tensor each_row(const at::Tensor& x, bool with_bias = true) const;
  // The same on memory: rows of x lie one after another, rows of y are `stride` elements apart,
  // which are T or f32 as `store` says.
  template <typename T>
  void each_row(const T* x, std::int64_t rows, Store store, void* y, std::int64_t stride,
                bool with_bias = true) const;
  // Whether nn/kernels multiply with a matrix of this layer in blocks.
  bool in_blocks() const;

 private:
  // What one product of nn/kernels reads. Another way of storing numbers is another alternative.
  struct Block {
    std::variant<at::Tensor, Int8Matrix, BlockMatrix> numbers;
    at::Tensor bias, bias_f32;
    at::Tensor packed = {};  // the numbers once more for ATen's products, or undefined

    std::int64_t ins() const;
    std::int64_t outs() const;
  };
  // What one product of ATen reads: y = (x matrix^T) * scale + bias.
  struct Whole {
    at::Tensor matrix, scale, bias;
  };
  Whole whole(at::ScalarType type) const;
  at::Tensor product(const at::Tensor& x, bool with_bias) const;
  at::Tensor plain_product(const at::Tensor& x, bool with_bias) const;
  Part join();
  // Rows of activations, in eight bits as well if a block needs them.
  template <typename T>
  struct Rows {
    const T* x;
    std::int64_t count;
    ActivationRows quantised;
    bool with_bias;
  };
  template <typename T>
  static void multiply_block(const Block& block, const Rows<T>& rows, std::int64_t from,
                             std::int64_t to, Store store, std::byte* y, std::int64_t stride);

  std::vector<Block> blocks_;
  bool trained_ = false;  // parts[0] has the parameters, blocks_[0] their copies
};

}  // namespace blip2
