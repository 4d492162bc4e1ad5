#include "blip2/search/picture_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "blip2/base/message_of.h"
#include "blip2/io/test_files.h"
#include "blip2/search/test_index.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using testing::has_vectors;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kShape;
using testing::numbers_in;
using testing::open_message;
using testing::put_picture;
using testing::TemporaryFolder;
using testing::test_content;
using testing::test_facts;
using testing::test_identity;
using testing::test_vectors;
using testing::vector_files;

TEST(PictureIndex, SaysWhatWasWritten) {
  const TemporaryFolder folder;
  std::int64_t first = 0, second = 0;
  {
    IndexWriter writer(folder / "index", test_identity());
    first = put_picture(writer, 1, "/a/one.jpg");
    second = put_picture(writer, 2, "/a/two.jpg");
    writer.put_file({"/b/copy.jpg", 7, 8, first, ""});
    writer.put_file({"/b/bad.jpg", 9, 10, std::nullopt, "not a picture"});
    writer.set_caption(second, "two dogs");
    writer.set_value("threshold", "0.25");
    EXPECT_EQ(writer.commit(), 1);
  }
  const auto index = PictureIndex::open(folder / "index");
  EXPECT_EQ(index->generation(), 1);
  EXPECT_EQ(index->pictures(), 2);
  EXPECT_EQ(index->files(), 3);
  EXPECT_EQ(index->bad_files(), 1);
  EXPECT_EQ(index->identity().model_folder, "/models/small");
  EXPECT_EQ(index->identity().shape, kShape);
  EXPECT_EQ(index->picture_of(test_content(2)), second);
  EXPECT_EQ(index->picture_of(test_content(3)), std::nullopt);
  const PictureFacts facts = index->facts(second);
  EXPECT_EQ(facts.content, test_content(2));
  EXPECT_EQ(facts.width, 102);
  EXPECT_EQ(facts.height, 80);
  EXPECT_EQ(facts.taken, 1'000'002);
  EXPECT_EQ(facts.caption, "two dogs");
  EXPECT_EQ(index->facts(first).taken, std::nullopt);
  const auto files = index->files_of(first);
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].path, "/a/one.jpg");
  EXPECT_EQ(files[0].bytes, 1001u);
  EXPECT_EQ(files[1].path, "/b/copy.jpg");
  EXPECT_EQ(files[1].modified, 8);
  ASSERT_EQ(index->list_files(true, 0, 10).size(), 1u);
  EXPECT_EQ(index->list_files(true, 0, 10)[0].problem, "not a picture");
  EXPECT_EQ(index->value("threshold"), "0.25");
  EXPECT_EQ(index->value("other"), std::nullopt);
  EXPECT_TRUE(has_vectors(*index, first, 1));
  EXPECT_TRUE(has_vectors(*index, second, 2));
  EXPECT_EQ(message_of([&] { index->facts(99); }),
            (folder / "index").string() + ": there is no picture 99 in generation 1");
}

TEST(PictureIndex, PartsHoldTheVectorsThatSearchReads) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  for (std::uint64_t seed = 0; seed < 70; ++seed) {
    put_picture(writer, seed, "/" + std::to_string(seed));
  }
  writer.commit();
  const auto index = PictureIndex::open(folder.path());
  const auto parts = index->parts();
  ASSERT_EQ(parts.size(), 1u);
  const CodeSizes sizes = code_sizes(kShape);
  EXPECT_EQ(parts[0].heads.size(), 70 * sizes.head);
  EXPECT_EQ(parts[0].bodies.size(), 70 * sizes.body);
  EXPECT_THAT(parts[0].wanted, ElementsAre(~std::uint64_t{0}, 63u));
  const auto decoded =
      decode(*parts[0].basis, parts[0].bodies.subspan(69 * sizes.body, sizes.body));
  EXPECT_LE(testing::largest_distance(decoded, test_vectors(69)), index->largest_error() + 1e-5f);
  EXPECT_LT(index->largest_error(), 0.05f);
  EXPECT_EQ(message_of([&] { index->parts(WantedBits{}); }),
            "pictures that are wanted: expected bits for 1 parts, got 0");
}

TEST(PictureIndex, FindsTheBestPictures) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    put_picture(writer, seed, "/" + std::to_string(seed));
    if (seed % 10 == 9) writer.commit();
  }
  writer.remove_file("/17");
  writer.commit();
  const auto index = PictureIndex::open(folder.path());
  const auto best = [&](std::uint64_t seed) {
    const SearchTerm term{test_vectors(seed), 1};
    const auto hits = best_pictures(index->parts(), std::span(&term, 1), 1, 1);
    return index->facts(index->picture_at(hits.at(0).part, hits[0].row)).content;
  };
  EXPECT_EQ(best(3), test_content(3));
  EXPECT_EQ(best(25), test_content(25));
  EXPECT_NE(best(17), test_content(17));
}

TEST(PictureIndex, AnEmptyIndexIsAnIndex) {
  const TemporaryFolder folder;
  { IndexWriter(folder.path(), test_identity()).commit(); }
  const auto index = PictureIndex::open(folder.path());
  EXPECT_EQ(index->pictures(), 0);
  EXPECT_THAT(index->parts(), IsEmpty());
  EXPECT_THAT(index->wanted_by({}), IsEmpty());
}

TEST(PictureIndex, NothingIsSeenBeforeCommit) {
  const TemporaryFolder folder;
  {
    IndexWriter writer(folder.path(), test_identity());
    put_picture(writer, 1, "/a");
    EXPECT_THAT(open_message(folder.path()), HasSubstr("there is no index here"));
  }
  EXPECT_THAT(open_message(folder.path()), HasSubstr("there is no index here"));
  {
    IndexWriter writer(folder.path(), test_identity());
    EXPECT_THAT(writer.files(), IsEmpty());
    put_picture(writer, 2, "/b");
    writer.commit();
    put_picture(writer, 3, "/c");
    EXPECT_EQ(writer.files().size(), 2u);
  }
  EXPECT_EQ(PictureIndex::open(folder.path())->pictures(), 1);
}

TEST(PictureIndex, KeepsItsGenerationWhileOthersAreWritten) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  const std::int64_t one = put_picture(writer, 1, "/one");
  writer.commit();
  const auto old = PictureIndex::open(folder.path());
  EXPECT_FALSE(old->is_outdated());
  writer.remove_file("/one");
  for (std::uint64_t i = 2; i < 40; ++i) {
    put_picture(writer, i, "/" + std::to_string(i));
    writer.commit();
  }
  EXPECT_TRUE(old->is_outdated());
  EXPECT_EQ(old->generation(), 1);
  EXPECT_EQ(old->files_of(one).size(), 1u);
  EXPECT_TRUE(has_vectors(*old, one, 1));
  const auto now = PictureIndex::open(folder.path());
  EXPECT_EQ(now->pictures(), 38);
  EXPECT_EQ(now->picture_of(test_content(1)), std::nullopt);
  EXPECT_FALSE(now->is_outdated());
}

TEST(PictureIndex, NumbersAreNeverUsedTwice) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  const std::int64_t old = put_picture(writer, 1, "/a");
  writer.commit();
  writer.remove_file("/a");
  writer.commit();
  EXPECT_EQ(writer.find_picture(test_content(1)), std::nullopt);
  EXPECT_EQ(vector_files(folder.path()), 0u);
  const std::int64_t again = put_picture(writer, 1, "/a");
  EXPECT_GT(again, old);
  writer.commit();
  EXPECT_TRUE(has_vectors(*PictureIndex::open(folder.path()), again, 1));
}

TEST(PictureIndex, AMovedFileKeepsItsPicture) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  const std::int64_t number = put_picture(writer, 1, "/old");
  writer.commit();
  writer.remove_file("/old");
  EXPECT_EQ(put_picture(writer, 1, "/new"), number);
  writer.commit();
  const auto index = PictureIndex::open(folder.path());
  EXPECT_EQ(index->pictures(), 1);
  EXPECT_EQ(index->files(), 1);
  EXPECT_EQ(index->files_of(number)[0].path, "/new");
}

TEST(PictureIndex, AFileThatChangesLosesItsPicture) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  put_picture(writer, 1, "/a");
  put_picture(writer, 2, "/b");
  writer.commit();
  put_picture(writer, 3, "/a");
  writer.put_file({"/b", 1, 1, std::nullopt, "truncated"});
  writer.commit();
  const auto index = PictureIndex::open(folder.path());
  EXPECT_EQ(index->pictures(), 1);
  EXPECT_EQ(index->files(), 1);
  EXPECT_EQ(index->bad_files(), 1);
  EXPECT_EQ(index->picture_of(test_content(1)), std::nullopt);
  EXPECT_EQ(numbers_in(*index, index->wanted_by({})),
            std::vector<std::int64_t>{*index->picture_of(test_content(3))});
}

TEST(PictureIndex, APictureWithoutFileIsDropped) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  writer.add_picture(test_facts(1), test_vectors(1));
  const std::int64_t two = put_picture(writer, 2, "/two");
  writer.commit();
  const auto index = PictureIndex::open(folder.path());
  EXPECT_EQ(index->pictures(), 1);
  EXPECT_EQ(numbers_in(*index, index->wanted_by({})), std::vector<std::int64_t>{two});
}

TEST(PictureIndex, PathsAreAnyBytes) {
  const TemporaryFolder folder;
  const std::vector<std::string> paths{
      "/\xff\xfe",   "/a\nb",      "/it's; DROP TABLE files; --",
      "/\"quoted\"", "/per%cent_", "/\xc3\xa4.jpg",
      "/../../etc",  "/x'/*",
  };
  {
    IndexWriter writer(folder.path(), test_identity());
    for (std::size_t i = 0; i < paths.size(); ++i) put_picture(writer, i, paths[i]);
    writer.commit();
    writer.remove_file(paths[4]);
    writer.commit();
  }
  const auto index = PictureIndex::open(folder.path());
  EXPECT_EQ(index->files(), std::ssize(paths) - 1);
  std::vector<std::string> expected = paths;
  expected.erase(expected.begin() + 4);
  std::ranges::sort(expected);
  std::vector<std::string> found;
  for (const FileFacts& file : index->list_files(false, 0, 100)) found.push_back(file.path);
  EXPECT_EQ(found, expected);
  PictureFilter filter;
  filter.folder = "/x'";
  EXPECT_EQ(numbers_in(*index, index->wanted_by(filter)),
            std::vector<std::int64_t>{*index->picture_of(test_content(7))});
}

TEST(PictureIndex, PagesOfFiles) {
  const TemporaryFolder folder;
  IndexWriter writer(folder.path(), test_identity());
  for (int i = 0; i < 10; ++i) put_picture(writer, i, "/" + std::to_string(i));
  writer.commit();
  const auto index = PictureIndex::open(folder.path());
  const auto page = index->list_files(false, 7, 2);
  ASSERT_EQ(page.size(), 2u);
  EXPECT_EQ(page[0].path, "/7");
  EXPECT_THAT(index->list_files(false, 10, 5), IsEmpty());
  EXPECT_THAT(index->list_files(false, 0, -1), IsEmpty());
}

class Filters : public ::testing::Test {
 protected:
  // Pictures 0 to 11 with the files "/even/N" or "/odd/N", modified N seconds after 1970.
  Filters() {
    IndexWriter writer(folder.path(), test_identity());
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      const std::string side = seed % 2 == 0 ? "/even/" : "/odd/";
      put_picture(writer, seed, side + std::to_string(seed));
    }
    writer.commit();
    index = PictureIndex::open(folder.path());
  }
  std::vector<std::uint64_t> seeds(const PictureFilter& filter) const {
    std::vector<std::uint64_t> seeds;
    for (const std::int64_t number : numbers_in(*index, index->wanted_by(filter))) {
      std::uint64_t seed = 0;
      while (test_content(seed) != index->facts(number).content) ++seed;
      seeds.push_back(seed);
    }
    return seeds;
  }

  TemporaryFolder folder;
  std::shared_ptr<const PictureIndex> index;
};

TEST_F(Filters, Folder) {
  EXPECT_EQ(seeds({}).size(), 12u);
  PictureFilter filter;
  filter.folder = "/odd";
  EXPECT_THAT(seeds(filter), ElementsAre(1, 3, 5, 7, 9, 11));
  filter.folder = "/odd/";
  EXPECT_EQ(seeds(filter).size(), 6u);
  filter.folder = "/od";
  EXPECT_THAT(seeds(filter), IsEmpty());
  filter.folder = "/";
  EXPECT_EQ(seeds(filter).size(), 12u);
}

// Pictures of even seeds have EXIF's date, the others their file's.
TEST_F(Filters, Dates) {
  PictureFilter filter;
  filter.after = 9;
  filter.before = 1'000'004;
  EXPECT_THAT(seeds(filter), ElementsAre(0, 2, 9, 11));
}

TEST_F(Filters, SidesAndCamera) {
  PictureFilter filter;
  filter.min_side = 80;
  EXPECT_EQ(seeds(filter).size(), 12u);
  filter.min_side = 81;
  EXPECT_THAT(seeds(filter), IsEmpty());
  filter = {};
  filter.camera = "canon";
  EXPECT_THAT(seeds(filter), ElementsAre(0, 3, 6, 9));
  filter.camera = "%";
  EXPECT_THAT(seeds(filter), IsEmpty());
  filter.camera = "eos";
  filter.folder = "/odd";
  EXPECT_THAT(seeds(filter), ElementsAre(3, 9));
}

TEST_F(Filters, AreKeptForTheNextPage) {
  for (int round = 0; round < 2; ++round) {
    for (std::int64_t after = 0; after < 12; ++after) {
      PictureFilter filter;
      filter.after = after;
      filter.before = 12;
      std::vector<std::uint64_t> expected;
      for (std::uint64_t seed = 1; seed < 12; seed += 2) {
        if (std::cmp_greater_equal(seed, after)) expected.push_back(seed);
      }
      EXPECT_EQ(seeds(filter), expected) << after;
    }
  }
}

}  // namespace
}  // namespace blip2
