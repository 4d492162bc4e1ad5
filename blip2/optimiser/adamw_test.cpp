#include "blip2/optimiser/adamw.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "blip2/base/message_of.h"
#include "blip2/io/safetensors.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/optimiser/schedule.h"

namespace blip2 {
namespace {

std::vector<NamedTensor> two_parameters() {
  const auto generator = at::detail::createCPUGenerator(3);
  return {{"weight", at::randn({4, 3}, generator).set_requires_grad(true)},
          {"bias", at::randn({4}, generator).set_requires_grad(true)}};
}

void set_gradients(const std::vector<NamedTensor>& parameters, double scale) {
  for (const auto& [name, value] : parameters) {
    value.mutable_grad() =
        at::arange(value.numel(), value.options()).reshape(value.sizes()) * scale;
  }
}

TEST(AdamWTest, EqualsTorchsOwnWithoutDecayOnBiases) {
  OptimizerRecipe recipe;
  recipe.weight_decay = 0.1;
  recipe.clip = 0;
  auto ours = two_parameters(), theirs = two_parameters();
  AdamW optimizer(ours, recipe);
  using torch::optim::AdamWOptions;
  const auto options = [&](double decay) {
    return std::make_unique<AdamWOptions>(
        AdamWOptions(0.01).betas({recipe.beta1, recipe.beta2}).eps(recipe.eps).weight_decay(decay));
  };
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<at::Tensor>{theirs[0].value}, options(0.1));
  groups.emplace_back(std::vector<at::Tensor>{theirs[1].value}, options(0.0));
  torch::optim::AdamW reference(groups, AdamWOptions(0.01));
  for (int step = 0; step < 5; ++step) {
    set_gradients(ours, 0.1 * (step + 1));
    set_gradients(theirs, 0.1 * (step + 1));
    optimizer.step(0.01);
    reference.step();
  }
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(at::allclose(ours[i].value, theirs[i].value, 1e-6, 1e-7));
}

TEST(AdamWTest, EqualsTorchsOwnWithARateForEachParameter) {
  const OptimizerRecipe recipe{.lr = 1, .weight_decay = 0.1, .clip = 0};
  auto ours = two_parameters(), theirs = two_parameters();
  AdamW optimizer(ours, recipe, {0.5, 0.25});
  using torch::optim::AdamWOptions;
  std::vector<torch::optim::OptimizerParamGroup> groups;
  for (const int i : {0, 1}) {
    groups.emplace_back(std::vector<at::Tensor>{theirs[i].value},
                        std::make_unique<AdamWOptions>(AdamWOptions(i == 0 ? 0.005 : 0.0025)
                                                           .betas({recipe.beta1, recipe.beta2})
                                                           .eps(recipe.eps)
                                                           .weight_decay(i == 0 ? 0.1 : 0)));
  }
  torch::optim::AdamW reference(groups, AdamWOptions(0.01));
  for (int step = 0; step < 5; ++step) {
    set_gradients(ours, 0.1 * (step + 1));
    set_gradients(theirs, 0.1 * (step + 1));
    optimizer.step(0.01);
    reference.step();
  }
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(at::allclose(ours[i].value, theirs[i].value, 1e-6, 1e-7));
}

TEST(AdamWTest, ClipsToTheNorm) {
  OptimizerRecipe recipe;
  recipe.clip = 0.5;
  auto clipped = two_parameters(), scaled = two_parameters();
  AdamW optimizer(clipped, recipe);
  set_gradients(clipped, 1.0);
  const double norm = optimizer.step(0.1);
  EXPECT_NEAR(norm, std::sqrt(506.0 + 14.0), 1e-4);  // 0²+…+11², 0²+…+3²
  recipe.clip = 0;
  AdamW unclipped(scaled, recipe);
  set_gradients(scaled, 0.5 / norm);
  unclipped.step(0.1);
  EXPECT_TRUE(at::allclose(clipped[0].value, scaled[0].value));
}

TEST(AdamWTest, NonFiniteGradientsChangeNothing) {
  auto parameters = two_parameters();
  const at::Tensor before = parameters[0].value.detach().clone();
  AdamW optimizer(parameters, {});
  set_gradients(parameters, std::numeric_limits<double>::infinity());
  EXPECT_FALSE(std::isfinite(optimizer.step(0.1)));
  EXPECT_TRUE(at::equal(parameters[0].value, before));
  EXPECT_FALSE(parameters[0].value.grad().defined());
}

TEST(AdamWTest, GoesOnFromASavedState) {
  const auto path = std::filesystem::path(::testing::TempDir()) /
                    ("adamw_" + std::to_string(::getpid()) + ".safetensors");
  auto parameters = two_parameters(), others = two_parameters();
  AdamW optimizer(parameters, {}), other(others, {});
  const auto step = [](const std::vector<NamedTensor>& values, AdamW& adamw, double scale) {
    set_gradients(values, scale);
    adamw.step(0.1);
  };
  step(parameters, optimizer, 1);
  std::vector<TensorView> views;
  for (const auto& [name, value] : parameters) views.push_back(view_of(name, value));
  for (const auto& [name, value] : optimizer.state()) views.push_back(view_of(name, value));
  write_safetensors(path, views);
  const std::shared_ptr<const TensorFile> file = open_tensor_file(path);
  std::filesystem::remove(path);
  restore_tensors(file, other.parameters());
  restore_tensors(file, other.state());
  step(parameters, optimizer, 2);
  step(others, other, 2);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(at::equal(parameters[i].value, others[i].value));
    EXPECT_TRUE(others[i].value.requires_grad());
  }
  const std::vector<NamedTensor> wrong{{"weight", at::ones({4, 2})}, {"gain", at::ones({1})}};
  const std::string message = message_of([&] { restore_tensors(file, wrong); });
  EXPECT_NE(message.find("2 tensors do not fit the model that is trained"), std::string::npos);
  EXPECT_NE(message.find("weight: expected shape [4, 2], got [4, 3]"), std::string::npos);
  EXPECT_NE(message.find("gain: missing"), std::string::npos);
}

TEST(ScheduleTest, WarmsUpThenFallsAsACosine) {
  Recipe recipe;
  recipe.steps = 101 + 10;
  recipe.schedule = {10, 0.1};
  recipe.optimizer.lr = 1.1;
  EXPECT_DOUBLE_EQ(learning_rate(recipe, 0), 0.11);
  EXPECT_DOUBLE_EQ(learning_rate(recipe, 9), 1.1);
  EXPECT_DOUBLE_EQ(learning_rate(recipe, 10), 1.1);
  EXPECT_NEAR(learning_rate(recipe, 60), 0.6, 1e-12);
  EXPECT_DOUBLE_EQ(learning_rate(recipe, 110), 0.1);
}

}  // namespace
}  // namespace blip2
