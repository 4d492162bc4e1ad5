// A training step as `blip2 train` takes it, on what test_training.py wrote.
//
//   training RECIPE OUT   the loss of step 0 on the first batch_size records, the gradients of the
//                         trained weights, the scales of a trained image encoder's learning rates
//                         and the pictures' features -> OUT (safetensors)

#include <torch/torch.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/io/safetensors.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/training/training_setup_internal.h"

namespace {

using namespace blip2;

void write(const std::string& path, const std::vector<NamedTensor>& tensors) {
  std::vector<TensorView> views;
  for (const auto& [name, value] : tensors) views.push_back(view_of(name, value));
  write_safetensors(path, views);
}

// Of each different picture.
at::Tensor plain_features(const Dataset& data) {
  std::vector<std::int64_t> items;  // the first of each picture
  const auto& of_item = data.pictures.of_item;
  for (std::int64_t picture = 0; picture < std::ssize(data.pictures.names); ++picture) {
    items.push_back(std::find(of_item.begin(), of_item.end(), picture) - of_item.begin());
  }
  return data.gather(items, 0, std::nullopt).stacked().detach();
}

void run(const std::string& recipe_path, const std::string& out) {
  const Recipe recipe = load_recipe(recipe_path, {});
  const TrainingSetup setup = open_training(recipe);
  std::vector<std::int64_t> items(static_cast<std::size_t>(recipe.batch_size));
  std::iota(items.begin(), items.end(), 0);
  const TaskLoss result = training_loss(setup, items, /*step=*/0, /*part=*/0);
  result.loss.backward();
  std::vector<NamedTensor> tensors{{"loss", result.loss.detach().reshape({1})}};
  tensors.push_back({"features", plain_features(setup.train)});
  if (setup.encoder) {
    const auto& parameters = setup.encoder->parameters();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      tensors.push_back({"lr_scale." + parameters[i].name,
                         at::full({1}, setup.encoder->lr_scales()[i], at::kDouble)});
    }
  }
  const AdamW optimizer = make_optimizer(setup, recipe);
  for (const auto& [name, value] : optimizer.parameters()) {
    if (value.grad().defined()) tensors.push_back({"grad." + name, value.grad().contiguous()});
  }
  write(out, tensors);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    run(argv[1], argv[2]);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
