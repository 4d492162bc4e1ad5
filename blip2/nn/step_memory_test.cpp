#include "blip2/nn/step_memory.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <thread>
#include <vector>

namespace blip2 {
namespace {

constexpr std::int64_t kMegabyte = 1 << 20;

at::Tensor bytes(std::int64_t count) {
  return at::empty({count}, at::kByte);
}

TEST(StepMemory, TakesTheBlockOfAFreedTensorOfAboutItsSize) {
  const StepMemory memory;
  at::Tensor first = bytes(8 * kMegabyte);
  const void* place = first.const_data_ptr();
  first = at::Tensor();
  EXPECT_EQ(StepMemory::kept(), static_cast<std::size_t>(8 * kMegabyte));
  at::Tensor again = bytes(8 * kMegabyte - 100);
  EXPECT_EQ(again.const_data_ptr(), place);
  EXPECT_EQ(StepMemory::kept(), 0U);
  again = at::Tensor();
  again = bytes(4 * kMegabyte);  // too small for that block
  EXPECT_EQ(StepMemory::used(), static_cast<std::size_t>(4 * kMegabyte));
}

TEST(StepMemory, SmallTensorsAreLibTorchsOwn) {
  const StepMemory memory;
  { const at::Tensor small = bytes(StepMemory::kLeast - 1); }
  EXPECT_EQ(StepMemory::kept(), 0U);
  { const at::Tensor block = bytes(StepMemory::kLeast); }
  EXPECT_EQ(StepMemory::kept(), StepMemory::kLeast);
}

TEST(StepMemory, KeepsAnEighthMoreThanTheMostInUse) {
  const StepMemory memory;
  for (std::int64_t i = 1; i <= 16; ++i) bytes(i * kMegabyte);
  EXPECT_EQ(StepMemory::kept(), static_cast<std::size_t>(16 * kMegabyte));  // the newest one
  std::vector<at::Tensor> parts;
  for (std::int64_t i = 0; i < 4; ++i) parts.push_back(bytes(4 * kMegabyte));
  EXPECT_LE(StepMemory::kept() + StepMemory::used(), static_cast<std::size_t>(18 * kMegabyte));
}

TEST(StepMemory, GivesAllBackAtItsEndAndTensorsStay) {
  at::Tensor kept;
  {
    const StepMemory memory;
    kept = at::full({kMegabyte}, 7, at::kInt);
    bytes(2 * kMegabyte);
    StepMemory::give_back();
    EXPECT_EQ(StepMemory::kept(), 0U);
    bytes(2 * kMegabyte);
  }
  EXPECT_EQ(StepMemory::kept(), 0U);
  EXPECT_EQ(StepMemory::used(), static_cast<std::size_t>(4 * kMegabyte));
  EXPECT_TRUE(kept.eq(7).all().item<bool>());
  kept = bytes(4 * kMegabyte);  // by LibTorch's own allocator again
  EXPECT_EQ(StepMemory::used(), 0U);
}

TEST(StepMemory, StorageGrowsAndThreadsShareIt) {
  const StepMemory memory;
  at::Tensor grown = at::arange(kMegabyte, at::kInt);
  grown.resize_({2 * kMegabyte});
  EXPECT_EQ(grown[kMegabyte - 1].item<int>(), kMegabyte - 1);
  const auto work = [](int value) {
    for (int i = 0; i < 50; ++i) {
      const at::Tensor own = at::full({kMegabyte / 2 + 1000 * i}, value, at::kInt);
      ASSERT_TRUE(own.eq(value).all().item<bool>());
    }
  };
  std::jthread other(work, 1);
  work(2);
}

}  // namespace
}  // namespace blip2
