#include "blip2/nn/tensor_bridge.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "blip2/io/safetensors.h"

namespace blip2 {
namespace {

TEST(TensorBridge, BorrowsWithoutCopying) {
  const std::filesystem::path path =
      ::testing::TempDir() + std::to_string(::getpid()) + "_tensor_bridge_test.safetensors";
  const at::Tensor weight = at::arange(6, at::kFloat).view({3, 2});
  const TensorView views[] = {view_of("weight", weight)};
  write_safetensors(path, views);
  std::shared_ptr<const TensorFile> file = open_tensor_file(path);
  std::filesystem::remove(path);
  const TensorView& view = file->get("weight");
  const at::Tensor tensor = borrow(view, file);
  EXPECT_EQ(tensor.const_data_ptr(), static_cast<const void*>(view.data.data()));
  file.reset();
  EXPECT_EQ(tensor[1][0].item<float>(), 2.0f);
}

TEST(TensorBridge, ListsParametersAndBuffers) {
  const torch::nn::BatchNorm1d norm(torch::nn::BatchNorm1dOptions(2));
  std::vector<std::string> names;
  for (const TensorView& view : views_of(*norm, "n.")) names.push_back(view.name);
  EXPECT_EQ(names, (std::vector<std::string>{"n.weight", "n.bias", "n.running_mean",
                                             "n.running_var", "n.num_batches_tracked"}));
}

}  // namespace
}  // namespace blip2
