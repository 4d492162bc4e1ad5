#include "blip2/nn/tensor_bridge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "blip2/base/error.h"
#include "blip2/io/safetensors.h"

namespace blip2 {
namespace {

using ::testing::HasSubstr;

class TensorBridge : public ::testing::Test {
 protected:
  void SetUp() override {
    const at::Tensor weight = at::arange(6, at::kFloat).view({3, 2}), bias = at::ones({3});
    const TensorView views[] = {view_of("head.weight", weight), view_of("head.bias", bias)};
    write_safetensors(path_, views);
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::string fault(torch::nn::Module& module, const LoadOptions& options) {
    try {
      load_parameters(module, *open_tensor_file(path_), options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  std::filesystem::path path_ =
      ::testing::TempDir() + std::to_string(::getpid()) + "_tensor_bridge_test.safetensors";
};

TEST_F(TensorBridge, LoadsWhatItWrote) {
  torch::nn::Linear linear(2, 3);
  load_parameters(*linear, *open_tensor_file(path_), {.prefix = "head."});
  EXPECT_EQ(linear->weight[2][1].item<float>(), 5.0f);
  EXPECT_EQ(linear->bias[0].item<float>(), 1.0f);
}

TEST_F(TensorBridge, BorrowsWithoutCopying) {
  std::shared_ptr<const TensorFile> file = open_tensor_file(path_);
  const TensorView& view = file->get("head.weight");
  const at::Tensor tensor = borrow(view, file);
  EXPECT_EQ(tensor.const_data_ptr(), static_cast<const void*>(view.data.data()));
  file.reset();
  EXPECT_EQ(tensor[1][0].item<float>(), 2.0f);
}

TEST_F(TensorBridge, NamesEveryFaultOnce) {
  torch::nn::Linear wrong(2, 4);
  const std::string message = fault(*wrong, {.prefix = "head."});
  EXPECT_THAT(message, HasSubstr("head.weight: expected shape [4, 2], got [3, 2]"));
  EXPECT_THAT(message, HasSubstr("head.bias: expected shape [4], got [3]"));
  EXPECT_THAT(message, HasSubstr("tensor_bridge_test"));
  torch::nn::Linear linear(2, 3);
  const std::string other = fault(*linear, {.prefix = "body."});
  EXPECT_THAT(other, HasSubstr("body.weight: missing"));
  torch::nn::Linear bare(torch::nn::LinearOptions(2, 3).bias(false));
  EXPECT_THAT(fault(*bare, {.prefix = "head."}), HasSubstr("head.bias: not a tensor"));
  EXPECT_EQ(fault(*bare, {.prefix = "head.", .ignored = {"head.b*"}}), "");
}

}  // namespace
}  // namespace blip2
