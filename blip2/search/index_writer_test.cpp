#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "blip2/base/file.h"
#include "blip2/base/message_of.h"
#include "blip2/io/test_files.h"
#include "blip2/search/picture_index.h"
#include "blip2/search/test_index.h"

namespace blip2 {
namespace {

using testing::has_vectors;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::numbers_in;
using testing::open_message;
using testing::put_picture;
using testing::TemporaryFolder;
using testing::test_content;
using testing::test_facts;
using testing::test_identity;
using testing::test_vectors;
using testing::vector_files;
using testing::write_message;

void run_sql(const std::filesystem::path& file, const std::string& sql) {
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(file.c_str(), &handle), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(handle);
}

TEST(IndexWriter, MergesKeepEveryPictureInOrder) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    put_picture(writer, seed, "/" + std::to_string(seed));
    if (seed % 3 == 2) writer.remove_file("/" + std::to_string(seed - 1));
    writer.commit();
  }
  const auto index = PictureIndex::open(folder.path());
  EXPECT_LE(index->parts().size(), 16u);
  EXPECT_EQ(vector_files(folder.path()), index->parts().size());
  const auto numbers = numbers_in(*index, index->wanted_by({}));
  EXPECT_EQ(numbers.size(), 40u);
  EXPECT_TRUE(std::ranges::is_sorted(numbers));
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const auto number = index->picture_of(test_content(seed));
    ASSERT_EQ(number.has_value(), seed % 3 != 1) << seed;
    EXPECT_TRUE(!number || has_vectors(*index, *number, seed)) << seed;
  }
}

TEST(IndexWriter, FitsTheBasisAgainWhenTheIndexHasGrown) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  float first_error = 0;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    put_picture(writer, seed, "/" + std::to_string(seed));
    writer.commit();
    if (seed == 0) first_error = PictureIndex::open(folder.path())->largest_error();
  }
  const auto index = PictureIndex::open(folder.path());
  EXPECT_GT(index->largest_error(), first_error);  // the errors of both bases
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    EXPECT_TRUE(has_vectors(*index, *index->picture_of(test_content(seed)), seed));
  }
}

TEST(IndexWriter, ASmallChangeWritesLittle) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    put_picture(writer, seed, "/" + std::to_string(seed));
  }
  writer.commit();
  const auto first = folder / "1.vectors";
  ASSERT_TRUE(std::filesystem::exists(first));
  for (std::uint64_t seed = 500; seed < 530; ++seed) {
    put_picture(writer, seed, "/" + std::to_string(seed));
    writer.remove_file("/" + std::to_string(seed - 500));
    writer.commit();
  }
  EXPECT_TRUE(std::filesystem::exists(first));
}

TEST(IndexWriter, WithoutChangesThereIsNoNewGeneration) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  put_picture(writer, 1, "/a");
  EXPECT_EQ(writer.commit(), 1);
  EXPECT_EQ(writer.commit(), 1);
  writer.set_value("key", "text");
  EXPECT_EQ(writer.commit(), 2);
}

TEST(IndexWriter, RefusesAnotherModelUnlessItRebuilds) {
  const TemporaryFolder folder;
  std::int64_t old = 0;
  {
    IndexWriter writer(folder.path(), test_identity());
    old = put_picture(writer, 1, "/a");
    writer.commit();
  }
  IndexIdentity other = test_identity();
  other.model_hash = "ffff";
  EXPECT_THAT(write_message(folder.path(), other), HasSubstr("--rebuild"));
  other.shape = {1, 128};
  EXPECT_THAT(write_message(folder.path(), other), HasSubstr("2 x 64"));
  const auto before = PictureIndex::open(folder.path());
  {
    IndexWriter writer(folder.path(), other, true);
    EXPECT_THAT(writer.files(), IsEmpty());
    EXPECT_FALSE(before->is_outdated());
    const auto number = writer.add_picture(test_facts(2), test_vectors(2, other.shape));
    EXPECT_GT(number, old);
    writer.put_file({"/b", 1, 1, number, ""});
    EXPECT_EQ(writer.commit(), 2);
  }
  EXPECT_TRUE(before->is_outdated());
  EXPECT_TRUE(has_vectors(*before, old, 1));
  const auto index = PictureIndex::open(folder.path());
  EXPECT_EQ(index->identity().shape, other.shape);
  EXPECT_EQ(index->pictures(), 1);
  EXPECT_EQ(vector_files(folder.path()), 1u);
}

TEST(IndexWriter, ARebuildThatEndsEarlyChangesNothing) {
  const TemporaryFolder folder;
  {
    IndexWriter writer(folder.path(), test_identity());
    put_picture(writer, 1, "/a");
    writer.commit();
  }
  {
    IndexWriter writer(folder.path(), test_identity(), true);
    put_picture(writer, 2, "/b");
  }
  const auto index = PictureIndex::open(folder.path());
  EXPECT_EQ(index->generation(), 1);
  EXPECT_TRUE(has_vectors(*index, *index->picture_of(test_content(1)), 1));
}

TEST(IndexWriter, OneAtATime) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  EXPECT_THAT(write_message(folder.path()), HasSubstr("writes this index; wait"));
  EXPECT_THAT(write_message(folder.path()), HasSubstr(std::to_string(::getpid())));
}

TEST(IndexWriter, RefusesAFolderOfOtherFiles) {
  const TemporaryFolder folder;
  folder.write("holiday.jpg", "x");
  EXPECT_THAT(write_message(folder.path()), HasSubstr("other files, such as holiday.jpg"));
  EXPECT_FALSE(std::filesystem::exists(folder / "writer.lock"));
  EXPECT_THAT(write_message(folder / "holiday.jpg"), HasSubstr("holiday.jpg"));
}

TEST(IndexWriter, WrongCallsAreErrorsThatLoseNothing) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  put_picture(writer, 1, "/a");
  EXPECT_EQ(message_of([&] {
              writer.put_file({"/b", 1, 1, 99, ""});
            }),
            "/b: there is no picture 99");
  EXPECT_THAT(message_of([&] { writer.set_caption(99, "x"); }), HasSubstr("no picture 99"));
  EXPECT_THAT(message_of([&] { writer.add_picture(test_facts(2), std::vector<float>(3)); }),
              HasSubstr("expected 2 x 64 numbers, got 3"));
  EXPECT_EQ(writer.commit(), 1);
  EXPECT_EQ(PictureIndex::open(folder.path())->pictures(), 1);
}

TEST(IndexWriter, TakesAwayWhatKilledWritersLeft) {
  const TemporaryFolder folder;
  {
    IndexWriter writer(folder.path(), test_identity());
    put_picture(writer, 1, "/a");
    writer.commit();
  }
  folder.write("9.vectors", "half");
  folder.write("10.vectors.tmp77_0", "half");
  folder.write("notes.txt", "somebody's");
  IndexWriter writer(folder.path(), test_identity());
  EXPECT_FALSE(std::filesystem::exists(folder / "9.vectors"));
  EXPECT_FALSE(std::filesystem::exists(folder / "10.vectors.tmp77_0"));
  EXPECT_TRUE(std::filesystem::exists(folder / "notes.txt"));
  put_picture(writer, 2, "/b");
  writer.commit();
  EXPECT_EQ(PictureIndex::open(folder.path())->pictures(), 2);
}

class Damage : public ::testing::Test {
 protected:
  Damage() {
    IndexWriter writer(folder.path(), test_identity());
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      put_picture(writer, seed, "/" + std::to_string(seed));
    }
    writer.commit();
  }
  void flip(const std::string& name, std::int64_t from_end) {
    std::fstream file(folder / name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-from_end, std::ios::end);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(-from_end, std::ios::end);
    file.put(byte);
  }

  TemporaryFolder folder;
};

TEST_F(Damage, NoIndex) {
  EXPECT_THAT(open_message(folder / "none"), HasSubstr("there is no index here"));
  EXPECT_EQ(open_message(folder.path()), "no error");
}

TEST_F(Damage, AFileOfVectorsIsMissingOrShortOrAnother) {
  const auto file = folder / "1.vectors";
  const std::string good = read_file(file);
  folder.write("1.vectors", good.substr(0, good.size() / 2));
  EXPECT_THAT(open_message(folder.path()), HasSubstr("1.vectors: the header says 20 pictures"));
  std::string other = good;
  other[64] = 5;
  folder.write("1.vectors", other);
  EXPECT_THAT(open_message(folder.path()), HasSubstr("is not the one that the index names"));
  std::filesystem::remove(file);
  EXPECT_THAT(open_message(folder.path()),
              HasSubstr("a file of vectors of generation 1 is missing"));
}

TEST_F(Damage, AMergeFindsDamagedVectorsAndKeepsTheGeneration) {
  flip("1.vectors", 3);
  IndexWriter writer(folder.path(), test_identity());
  for (int i = 0; i < 10; ++i) writer.remove_file("/" + std::to_string(i));
  EXPECT_THAT(message_of([&] { writer.commit(); }),
              HasSubstr("1.vectors: the vectors are damaged"));
  EXPECT_THAT(message_of([&] { writer.commit(); }), HasSubstr("an earlier error"));
  EXPECT_EQ(PictureIndex::open(folder.path())->pictures(), 20);
}

TEST_F(Damage, AnotherVersionOrProgram) {
  run_sql(folder / "index.db", "PRAGMA user_version = 2");
  EXPECT_THAT(open_message(folder.path()),
              HasSubstr("expected an index of version 1, got version 2"));
  EXPECT_THAT(write_message(folder.path()), HasSubstr("--rebuild"));
  {
    IndexWriter writer(folder.path(), test_identity(), true);
    writer.commit();
  }
  EXPECT_EQ(PictureIndex::open(folder.path())->pictures(), 0);
  run_sql(folder / "index.db", "PRAGMA application_id = 5");
  EXPECT_THAT(open_message(folder.path()), HasSubstr("another program's database"));
  EXPECT_THAT(write_message(folder.path()), HasSubstr("another program's database"));
}

TEST_F(Damage, ADatabaseOfNoise) {
  std::filesystem::remove(folder / "index.db-wal");
  folder.write("index.db", std::string(8192, 'x'));
  EXPECT_THAT(open_message(folder.path()), HasSubstr("index.db: the database is damaged"));
  EXPECT_THAT(write_message(folder.path()), HasSubstr("index.db: the database is damaged"));
}

// What the database says is checked before it is used.
TEST_F(Damage, ImpossibleFacts) {
  const auto database = folder / "index.db";
  run_sql(database, "UPDATE parts SET alive = x'ffffffffffffffff'");
  EXPECT_THAT(open_message(folder.path()), HasSubstr("bits of 1 reach beyond its rows"));
  run_sql(database, "UPDATE parts SET alive = x'ff'");
  EXPECT_THAT(open_message(folder.path()), HasSubstr("has 20 rows and 1 bytes of bits"));
  run_sql(database, "UPDATE generation SET basis = x'00'");
  EXPECT_THAT(open_message(folder.path()), HasSubstr("index.db"));
  run_sql(database, "UPDATE generation SET queries = 1000000000000");
  EXPECT_THAT(open_message(folder.path()), HasSubstr("index.db"));
}

}  // namespace
}  // namespace blip2
