#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/recipe/recipe.h"

namespace blip2 {

struct NamedTensor {
  std::string name;
  at::Tensor value;
};

// Gives the tensors the values that the file has under their names; Error that lists those which it
// has not or has in another shape.
void restore_tensors(const std::shared_ptr<const TensorFile>& file,
                     const std::vector<NamedTensor>& tensors);

// AdamW (Loshchilov & Hutter 2019) on f32 parameters: weights of two or more dimensions decay,
// biases and other 1-D parameters do not (LAVIS's rule).
class AdamW {
 public:
  // `lr_scales`: the factor on the learning rate of each parameter; empty: 1 for all.
  AdamW(std::vector<NamedTensor> parameters, const OptimizerRecipe& recipe,
        const std::vector<double>& lr_scales = {});

  // Makes one update from the parameters' gradients, clipped to the recipe's norm; a parameter
  // without a gradient stays as it is. Clears the gradients. Returns the norm before clipping; if
  // it is not finite, no parameter has changed. `total` turns the sum of squares of these gradients
  // into the sum over all processes, where other processes have other gradients.
  double step(double lr, const std::function<double(double)>& total = {});

  // The moments and step counts, named "exp_avg.NAME" and so on: kStates tensors for each
  // parameter, in the order of the parameters.
  static constexpr std::size_t kStates = 3;
  std::vector<NamedTensor> state() const;

  const std::vector<NamedTensor>& parameters() const { return parameters_; }

 private:
  struct Group {
    double weight_decay, lr_scale;
    std::vector<std::size_t> members;
  };
  Group& group(double weight_decay, double lr_scale);
  void update(const Group& group, double lr, const at::Tensor& gradient_scale);

  std::vector<NamedTensor> parameters_;
  OptimizerRecipe recipe_;
  std::vector<Group> groups_;
  std::vector<at::Tensor> exp_avg_, exp_avg_sq_, steps_;
};

}  // namespace blip2
