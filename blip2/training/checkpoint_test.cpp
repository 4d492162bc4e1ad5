#include "blip2/training/checkpoint_internal.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "blip2/base/error.h"
#include "blip2/base/file.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() {
    char pattern[] = "/tmp/blip2_checkpoint_XXXXXX";
    folder_ = ::mkdtemp(pattern);
  }
  ~CheckpointTest() override { fs::remove_all(folder_); }

  void save(std::int64_t step) {
    const at::Tensor value = at::full({3, 2}, static_cast<double>(step));
    save_checkpoint(folder_, step, {{"w", value}}, {{"exp_avg.w", value}}, {{"seed", 7}});
  }
  void flip_bit(const fs::path& path, std::streamoff at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const char byte = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 1));
  }
  fs::path folder_;
};

TEST_F(CheckpointTest, NewestIsFoundWithItsState) {
  EXPECT_FALSE(newest_checkpoint(folder_).has_value());
  save(5);
  save(12);
  const auto found = newest_checkpoint(folder_);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->step, 12);
  EXPECT_EQ(found->state["seed"], 7);
}

TEST_F(CheckpointTest, EveryKindOfDamageIsFoundAndTheOneBeforeUsed) {
  for (const char* name : {"weights.safetensors", "optimizer.safetensors", "state.json"}) {
    save(5);
    save(12);
    const fs::path file = folder_ / checkpoint_name(12) / name;
    const auto size = static_cast<std::streamoff>(fs::file_size(file));
    for (std::streamoff at : {std::streamoff{0}, size / 2, size - 2}) {
      flip_bit(file, at);
      EXPECT_EQ(newest_checkpoint(folder_)->step, 5) << name << " bit at byte " << at;
      flip_bit(file, at);
    }
    fs::resize_file(file, static_cast<std::uintmax_t>(size / 2));
    EXPECT_EQ(newest_checkpoint(folder_)->step, 5) << name << " truncated";
    fs::remove(file);
    EXPECT_EQ(newest_checkpoint(folder_)->step, 5) << name << " missing";
  }
}

TEST_F(CheckpointTest, AFailedWriteLeavesTheOneBefore) {
  save(5);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{64, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  try {
    save(12);
  } catch (const Error& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_NE(message.find("weights.safetensors: cannot write after 64 bytes"), std::string::npos)
      << message;
  EXPECT_EQ(newest_checkpoint(folder_)->step, 5);
  prune_checkpoints(folder_, 1, std::nullopt);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(CheckpointTest, PruningKeepsTheNewestAndTheBest) {
  for (std::int64_t step : {1, 2, 3, 4, 5}) save(step);
  prune_checkpoints(folder_, 2, 2);
  for (std::int64_t step : {1, 3}) EXPECT_FALSE(fs::exists(folder_ / checkpoint_name(step)));
  for (std::int64_t step : {2, 4, 5}) EXPECT_TRUE(fs::exists(folder_ / checkpoint_name(step)));
}

}  // namespace
}  // namespace blip2
