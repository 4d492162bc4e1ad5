#include "blip2/search/vector_file_internal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/base/hash.h"
#include "blip2/base/message_of.h"
#include "blip2/io/test_files.h"

namespace blip2 {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;

constexpr VectorShape kShape{2, 64};

std::vector<std::byte> filled(std::size_t size, int value) {
  return std::vector<std::byte>(size, std::byte(value));
}

std::string three_rows(const TemporaryFolder& folder) {
  const std::vector<std::int64_t> numbers{3, 7, 20};
  const CodeSizes sizes = code_sizes(kShape);
  const auto path = folder / "1.vectors";
  VectorFileWriter writer(path, kShape, numbers);
  for (int row = 0; row < 3; ++row) writer.add_bodies(filled(sizes.body, 10 + row));
  for (int row = 0; row < 3; ++row) writer.add_heads(filled(sizes.head, 20 + row));
  writer.commit();
  return read_file(path);
}

std::string message_for(std::string bytes) {
  return message_of([&] { read_header(std::as_bytes(std::span(bytes)), "1.vectors"); });
}

// The header's checksum, after a change that somebody made on purpose.
std::string resealed(std::string bytes) {
  const auto sum = hash_bytes(std::as_bytes(std::span(bytes).first(56)));
  bytes.replace(56, 8, testing::u64(sum));
  return bytes;
}

TEST(VectorFile, ReadsWhatWasWritten) {
  const TemporaryFolder folder;
  three_rows(folder);
  const VectorFile file(folder / "1.vectors");
  EXPECT_EQ(file.rows(), 3u);
  EXPECT_EQ(file.header().shape, kShape);
  EXPECT_THAT(file.numbers(), ::testing::ElementsAre(3, 7, 20));
  EXPECT_EQ(file.body(1)[0], std::byte{11});
  EXPECT_EQ(file.head(2).back(), std::byte{22});
  EXPECT_EQ(file.row_of(7), 1u);
  EXPECT_EQ(file.row_of(8), std::nullopt);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.bodies().data()) % 64, 0u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.heads().data()) % 64, 0u);
}

TEST(VectorFile, TheBytesAreAsDescribed) {
  const TemporaryFolder folder;
  const std::string bytes = three_rows(folder);
  const CodeSizes sizes = code_sizes(kShape);
  const std::size_t bodies = 128, heads = (bodies + 3 * sizes.body + 63) / 64 * 64;
  EXPECT_EQ(bytes.size(), heads + 3 * sizes.head);
  EXPECT_EQ(bytes.substr(0, 12), "BLIP2VEC" + testing::u32(1));
  EXPECT_EQ(bytes.substr(16, 24), testing::u64(2) + testing::u64(64) + testing::u64(3));
  EXPECT_EQ(bytes.substr(64, 24), testing::u64(3) + testing::u64(7) + testing::u64(20));
  EXPECT_EQ(bytes[bodies + sizes.body], 11);
  EXPECT_EQ(bytes[heads + 2 * sizes.head], 22);
}

TEST(VectorFile, DamageIsAnError) {
  const TemporaryFolder folder;
  const std::string good = three_rows(folder);
  EXPECT_EQ(message_for(good), "no error");
  EXPECT_THAT(message_for(""), HasSubstr("1.vectors: expected 8 bytes"));
  EXPECT_THAT(message_for(good.substr(0, 40)), HasSubstr("expected 8 bytes"));
  EXPECT_THAT(message_for("X" + good.substr(1)), HasSubstr("expected a file of vectors"));
  EXPECT_THAT(message_for(good.substr(0, good.size() - 1)),
              HasSubstr("the header says 3 pictures"));
  EXPECT_THAT(message_for(good + "x"), HasSubstr("the header says 3 pictures"));
  for (const std::size_t at : {13, 16, 24, 32, 40, 48, 56}) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    EXPECT_THAT(message_for(bad), HasSubstr("checksum")) << at;
  }
}

TEST(VectorFile, AnotherVersionAndImpossibleNumbersAreErrors) {
  const TemporaryFolder folder;
  const std::string good = three_rows(folder);
  const auto with = [&](std::size_t at, std::uint64_t value) {
    std::string bad = good;
    return message_for(resealed(bad.replace(at, 8, testing::u64(value))));
  };
  EXPECT_THAT(with(8, 2), HasSubstr("expected version 1, got 2"));
  EXPECT_THAT(with(16, 0), HasSubstr("sensible shape"));
  EXPECT_THAT(with(24, ~std::uint64_t{0}), HasSubstr("sensible shape"));
  EXPECT_THAT(with(24, 128), HasSubstr("bytes for a picture"));
  EXPECT_THAT(with(32, ~std::uint64_t{0}), HasSubstr("but the file has"));
  EXPECT_THAT(with(32, std::uint64_t{1} << 61), HasSubstr("but the file has"));
  EXPECT_THAT(with(40, 1), HasSubstr("bytes for a picture"));
}

TEST(VectorFile, NamesArePlainNumbers) {
  EXPECT_EQ(vector_file_name(12), "12.vectors");
  EXPECT_EQ(vector_file_number("12.vectors"), 12);
  for (const char* name : {"", "12", "012.vectors", "-1.vectors", "0.vectors", "1.vectors.tmp1_2",
                           "../1.vectors", "+1.vectors", "99999999999999999999.vectors"}) {
    EXPECT_EQ(vector_file_number(name), std::nullopt) << name;
  }
}

TEST(VectorFile, WithoutCommitNothingIsLeft) {
  const TemporaryFolder folder;
  {
    const std::vector<std::int64_t> numbers{1};
    VectorFileWriter writer(folder / "1.vectors", kShape, numbers);
    writer.add_bodies(filled(code_sizes(kShape).body, 1));
    EXPECT_THAT(message_of([&] { writer.commit(); }), HasSubstr("expected"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace blip2
