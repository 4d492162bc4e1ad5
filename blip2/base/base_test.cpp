#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <numeric>
#include <span>
#include <string>

#include "blip2/base/allocation.h"
#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/hash.h"
#include "blip2/base/keyed_hash.h"
#include "blip2/base/message_of.h"
#include "blip2/base/nearest.h"
#include "blip2/base/new_entries.h"
#include "blip2/base/parallel.h"
#include "blip2/base/progress.h"
#include "blip2/base/random.h"

namespace blip2 {
namespace {

class Files : public testing::Test {
 protected:
  Files() {
    char pattern[] = "/tmp/blip2_base_XXXXXX";
    folder_ = ::mkdtemp(pattern);
  }
  ~Files() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST(ErrorTest, ReadsPlaceMessageHint) {
  const Error error("expected 3, got 4", "a.bin", "convert it again");
  EXPECT_STREQ(error.what(), "a.bin: expected 3, got 4; convert it again");
  EXPECT_STREQ(error.within("model").what(), "model: a.bin: expected 3, got 4; convert it again");
}

TEST_F(Files, AtomicFileAppearsOnlyOnCommit) {
  const auto path = folder_ / "x";
  {
    AtomicFile file(path);
    file.write("lost");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  write_file(path, "kept");
  EXPECT_EQ(read_file(path), "kept");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST(AtomicFileTest, FailureNamesTheFile) {
  EXPECT_NE(message_of([] { AtomicFile("/nonexistent/folder/x"); }).find("/nonexistent/folder/x"),
            std::string::npos);
}

TEST_F(Files, ACopyIsANewFile) {
  const std::string content(3 << 20, 'a');
  write_file(folder_ / "from", content);
  write_file(folder_ / "other", "theirs");
  std::filesystem::create_hard_link(folder_ / "other", folder_ / "to");
  write_copy(folder_ / "from", folder_ / "to");
  EXPECT_EQ(read_file(folder_ / "to"), content);
  EXPECT_EQ(read_file(folder_ / "other"), "theirs");
  EXPECT_NE(message_of([&] { write_copy(folder_ / "none", folder_ / "to"); }).find("none"),
            std::string::npos);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 3);
}

TEST_F(Files, TemporaryNamesAreKnown) {
  const AtomicFile unfinished(folder_ / "x");
  const auto path = std::filesystem::directory_iterator(folder_)->path();
  EXPECT_TRUE(is_temporary(path)) << path;
  for (const char* name : {"x", "x.tmp", "x.tmp1", "x.tmp_1", "x.tmp1_", "x.tmp1_2a", "x.tmpa_1"}) {
    EXPECT_FALSE(is_temporary(name)) << name;
  }
}

TEST_F(Files, PlacesForFilesAreAskedFor) {
  require_place(folder_ / "new");
  require_place("new");
  write_file(folder_ / "old", "");
  require_place(folder_ / "old");
  const auto said = [](const std::filesystem::path& path) {
    return message_of([&] { require_place(path); });
  };
  EXPECT_NE(said(folder_).find("it is a folder"), std::string::npos);
  EXPECT_NE(said(folder_ / "none" / "new").find("there is no folder"), std::string::npos);
  EXPECT_NE(said(folder_ / "old" / "new").find("there is no folder"), std::string::npos);
  EXPECT_NE(said("").find("empty"), std::string::npos);
}

TEST_F(Files, MappedFileSeesTheBytes) {
  write_file(folder_ / "x", "abc");
  const auto file = MappedFile::open(folder_ / "x");
  EXPECT_EQ(file->bytes().size(), 3u);
  EXPECT_EQ(static_cast<char>(file->bytes()[2]), 'c');
  write_file(folder_ / "empty", "");
  EXPECT_EQ(MappedFile::open(folder_ / "empty")->bytes().size(), 0u);
}

TEST_F(Files, WrongKindsAreRefused) {
  EXPECT_NE(message_of([&] { MappedFile::open(folder_); }).find("directory"), std::string::npos);
  EXPECT_NE(message_of([&] { MappedFile::open(folder_ / "no"); }).find("cannot open"),
            std::string::npos);
  EXPECT_NE(message_of([] { read_file("/dev/zero"); }).find("regular"), std::string::npos);
  write_file(folder_ / "x", "12345");
  EXPECT_NE(message_of([&] { read_file(folder_ / "x", 4); }).find("at most 4"), std::string::npos);
}

TEST(RandomTest, StreamIsFixed) {
  // SplitMix64 from seed 0: the values that its authors publish.
  Random random(0);
  EXPECT_EQ(random.next(), 0xe220a8397b1dcdafu);
  EXPECT_EQ(random.next(), 0x6e789e6aa1b965f4u);
}

TEST(RandomTest, BelowAndShuffleCoverTheRange) {
  Random random(7);
  std::vector<int> counts(5);
  for (int i = 0; i < 5000; ++i) ++counts[random.below(5)];
  for (int count : counts) EXPECT_NEAR(count, 1000, 150);
  std::vector<int> items(100);
  std::iota(items.begin(), items.end(), 0);
  auto shuffled = items;
  random.shuffle(shuffled);
  EXPECT_NE(shuffled, items);
  std::sort(shuffled.begin(), shuffled.end());
  EXPECT_EQ(shuffled, items);
}

TEST(RandomTest, DerivedSeedsDiffer) {
  EXPECT_NE(derive_seed(1, 2, 3), derive_seed(1, 3, 2));
  EXPECT_EQ(derive_seed(1, 2, 3), derive_seed(1, 2, 3));
}

TEST(ParallelTest, VisitsEachOnceAndForwardsErrors) {
  std::vector<std::atomic<int>> seen(1000);
  parallel_for(seen.size(), 4, [&](std::size_t i) { ++seen[i]; });
  for (const auto& count : seen) EXPECT_EQ(count, 1);
  EXPECT_THROW(parallel_for(10, 2, [](std::size_t) { throw Error("x"); }), Error);
}

TEST(HashTest, SeesEveryBitAndTheLength) {
  std::vector<std::byte> bytes(77);
  std::vector<std::uint64_t> seen{hash_bytes(bytes)};
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte(1 << bit % 8);
    seen.push_back(hash_bytes(bytes));
    bytes[bit / 8] ^= std::byte(1 << bit % 8);
  }
  seen.push_back(hash_bytes(std::span(bytes).first(76)));
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
  EXPECT_EQ(hash_text(0xabc), "0000000000000abc");
}

TEST(AllocationTest, PagesAreZerosThatCanBeWritten) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{5000}, std::size_t{9} << 20}) {
    const Pages pages = zeroed_pages(bytes);
    const std::span all(static_cast<unsigned char*>(pages.get()), bytes);
    EXPECT_TRUE(std::all_of(all.begin(), all.end(), [](unsigned char c) { return c == 0; }));
    std::fill(all.begin(), all.end(), 7);
  }
  EXPECT_THROW(zeroed_pages(~std::size_t{0}), std::bad_alloc);
}

// From the table vectors_sip128 of the reference code: the key is 00 01 ... 0f.
TEST(KeyedHashTest, EqualsTheReference) {
  const KeyedHash hash(0x0706050403020100u, 0x0f0e0d0c0b0a0908u);
  const std::byte bytes[] = {std::byte{0}, std::byte{1}};
  EXPECT_EQ(hash({}), (KeyedHash::Value{0xe6a825ba047f81a3u, 0x930255c71472f66du}));
  EXPECT_EQ(hash(std::span(bytes).first(1)),
            (KeyedHash::Value{0x44af996bd8c187dau, 0x45fc229b11597634u}));
  EXPECT_EQ(hash(bytes), (KeyedHash::Value{0xc75da4a48d227781u, 0xe4ff0af6de8ba3fcu}));
  EXPECT_NE(KeyedHash::random()(bytes), KeyedHash::random()(bytes));
}

// KiB of files mapped that this process holds.
long file_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssFile:")) return std::stol(line.substr(8));
  }
  return 0;
}

TEST(AllocationTest, ALibraryGivenBackIsThereWhenItIsUsed) {
  const long before = file_memory();
  if (before == 0) GTEST_SKIP() << "this system does not say how much is mapped";
  give_back_library("no library's name");
  EXPECT_GE(file_memory(), before);
  give_back_library("libstdc++");
  EXPECT_LT(file_memory(), before);
  EXPECT_THROW(throw Error("found by libstdc++"), Error);
}

TEST_F(Files, NewEntriesGoWithTheirFolders) {
  const auto inner = folder_ / "a/b/c/";
  EXPECT_EQ(missing_folders(inner),
            (std::vector{folder_ / "a/b/c", folder_ / "a/b", folder_ / "a"}));
  {
    const NewEntries entries(inner);
    std::filesystem::create_directories(inner / "d");
    write_file(inner / "d/file", "new");
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "a"));
  {
    const NewEntries entries(inner);
    std::filesystem::create_directories(inner);
    write_file(folder_ / "a/others", "stays");
  }
  EXPECT_EQ(read_file(folder_ / "a/others"), "stays");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "a/b"));
}

TEST_F(Files, NewEntriesOfAFolderThatWasThereGoAlone) {
  write_file(folder_ / "old", "1");
  {
    const NewEntries entries(folder_);
    write_file(folder_ / "old", "2");
    write_file(folder_ / "new", "3");
    std::filesystem::create_directories(folder_ / "folder/inner");
  }
  EXPECT_EQ(read_file(folder_ / "old"), "2");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "new"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "folder"));
  {
    NewEntries entries(folder_);
    write_file(folder_ / "new", "3");
    entries.keep();
  }
  EXPECT_TRUE(std::filesystem::exists(folder_ / "new"));
  { const NewEntries of_a_file(folder_ / "new"), of_nothing(""); }
  EXPECT_TRUE(std::filesystem::exists(folder_ / "new"));
}

TEST(NearestTest, SuggestsOnlyLikelyTypos) {
  const std::vector<std::string> keys{"optimizer.lr", "batch_size", "seed"};
  EXPECT_EQ(nearest_match("batchsize", keys), "batch_size");
  EXPECT_EQ(nearest_match("qqqqqqqqq", keys), "");
}

TEST(ProgressTest, FormatsDurations) {
  EXPECT_EQ(format_duration(155), "2:35");
  EXPECT_EQ(format_duration(3755), "1:02:35");
}

}  // namespace
}  // namespace blip2
