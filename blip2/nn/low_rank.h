#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace blip2 {

enum class Store;  // of nn/kernels/kernels.h
class LowRank;

// The dropout of what a model's low-rank matrices read.
struct LowRankDropout {
  double probability = 0;
  // Of the pass that is computed now; without a seed nothing is dropped.
  std::optional<std::uint64_t> seed;
};

// What a pass without autograd keeps until its backward pass, and the gradients that this finds.
struct LowRankTape {
  std::optional<std::uint64_t> seed;          // of the dropout
  std::map<const LowRank*, at::Tensor> read;  // what each layer read: [M, in]
  at::Tensor gradients;                       // f32, of all matrices, each at its place
};

// Low-rank matrices beside a frozen linear layer (LoRA, arXiv 2106.09685): they add
// scale * B A dropout(x) to the layer's results. A layer of several matrices has a part for each
// that is adapted. Copies share the tensors. Const functions may run on several threads at once
// while nobody changes the dropout's seed.
class LowRank {
 public:
  struct Part {
    std::int64_t begin = 0;  // the first of the layer's outs that it adds to
    at::Tensor a, b;         // [r, in], [outs, r]: parameters in f32, or frozen
    // Where A's gradient lies in LowRankTape::gradients, and B's after it. Parts of other layers
    // have other places, by which their dropout differs too.
    std::int64_t place = 0;
  };

  LowRank(double scale, std::shared_ptr<const LowRankDropout> dropout);

  std::vector<Part> parts;

  // Whether the matrices get gradients.
  bool trains() const { return parts.at(0).a.requires_grad(); }
  std::int64_t bytes() const;

  // The layer's results y [M, out] of rows x [M, in] with what is added to them. Differentiable by
  // both and by the matrices. All are of x's type.
  at::Tensor added(const at::Tensor& x, const at::Tensor& y) const;

  // Adds to y without autograd, whose dispatch must be off. With a tape the first `rows` rows of x
  // are kept for gradient_into(), if the matrices get gradients.
  void add_into(const at::Tensor& x, at::Tensor& y, std::int64_t rows, LowRankTape* tape) const;
  // For the gradient dy [M, out] of y: adds to the gradient dx [M, in] of x, and puts those of the
  // matrices into the tape. Rows of dy from `rows` on become 0.
  void gradient_into(at::Tensor& dy, at::Tensor& dx, std::int64_t rows, LowRankTape& tape) const;

  // Adds to y by nn/kernels, without autograd and dropout: a row's result does not depend on the
  // rows beside it. Arguments as Linear::each_row's.
  template <typename T>
  void add_rows(const T* x, std::int64_t rows, Store store, void* y, std::int64_t stride) const;

 private:
  using Seed = std::optional<std::uint64_t>;
  bool drops(const Seed& seed) const { return seed && dropout_->probability > 0; }
  // What elements are multiplied by in place of `scale`: those that are left are larger.
  double gain(const Seed& seed) const;
  // x, or x without the elements that are dropped.
  at::Tensor dropped(const at::Tensor& x, const Part& part, const Seed& seed) const;
  template <typename T>
  void add_part(const Part& part, const T* x, std::int64_t rows, Store store, void* y,
                std::int64_t stride) const;

  double scale_;
  std::shared_ptr<const LowRankDropout> dropout_;
};

}  // namespace blip2
