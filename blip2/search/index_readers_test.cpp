#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "blip2/io/test_files.h"
#include "blip2/search/test_history.h"

namespace blip2 {
namespace {

using testing::IndexHistory;

// Opens the newest generation again and again, or keeps one for a while.
std::string read_until(const std::filesystem::path& folder, const std::atomic<bool>& done,
                       std::atomic<int>& answers) try {
  std::shared_ptr<const PictureIndex> index;
  while (!done) {
    if (!index || index->is_outdated()) index = PictureIndex::open(folder);
    const std::string problem = IndexHistory(index->generation()).problem(*index);
    if (!problem.empty()) return problem;
    ++answers;
  }
  return "";
} catch (const Error& error) {
  return error.what();
}

// Beside a writer every reader's answers are of one generation.
TEST(Readers, SixteenBesideAWriter) {
  const testing::TemporaryFolder folder;
  IndexWriter writer(folder.path(), testing::test_identity());
  IndexHistory history(0);
  history.step(&writer);
  writer.commit();
  std::atomic<bool> done = false;
  std::atomic<int> answers = 0;
  std::mutex mutex;
  std::vector<std::string> problems;
  std::vector<std::jthread> readers;
  for (int i = 0; i < 16; ++i) {
    readers.emplace_back([&] {
      const std::string problem = read_until(folder.path(), done, answers);
      const std::lock_guard lock(mutex);
      if (!problem.empty()) problems.push_back(problem);
    });
  }
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return (std::chrono::steady_clock::now() - start).count() / 1e9; };
  const auto has_seen_much = [&] { return answers >= 32 && history.generation() > 9; };
  while (seconds() < 3 || (!has_seen_much() && seconds() < 60)) {
    history.step(&writer);
    ASSERT_EQ(writer.commit(), history.generation());
  }
  done = true;
  readers.clear();
  EXPECT_EQ(problems, std::vector<std::string>{});
  EXPECT_TRUE(has_seen_much());  // merges too
}

// One generation, asked by several threads at once.
TEST(Readers, OneGenerationOnManyThreads) {
  const testing::TemporaryFolder folder;
  IndexWriter writer(folder.path(), testing::test_identity());
  IndexHistory history(0);
  for (int i = 0; i < 4; ++i) history.step(&writer), writer.commit();
  const auto index = PictureIndex::open(folder.path());
  std::vector<std::jthread> readers;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      for (int k = 0; k < 20; ++k) {
        if (!IndexHistory(4).problem(*index).empty() || index->is_outdated()) ++wrong;
      }
    });
  }
  readers.clear();
  EXPECT_EQ(wrong, 0);
}

// A server that asks whether there is something new lets the log of the database end.
TEST(Readers, TheLogEndsBesideAReaderThatAsks) {
  const testing::TemporaryFolder folder;
  IndexWriter writer(folder.path(), testing::test_identity());
  IndexHistory history(0);
  std::shared_ptr<const PictureIndex> index;
  std::uintmax_t largest = 0;
  for (int i = 0; i < 60; ++i) {
    history.step(&writer);
    writer.commit();
    if (!index || index->is_outdated()) index = PictureIndex::open(folder.path());
    writer.set_value("step", std::to_string(history.generation()));  // begins the next transaction
    EXPECT_FALSE(index->is_outdated());
    largest = std::max(largest, std::filesystem::file_size(folder / "index.db-wal"));
  }
  EXPECT_LT(largest, 1u << 20);
}

}  // namespace
}  // namespace blip2
