#include "blip2/search/duplicates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "blip2/base/random.h"
#include "blip2/search/similar_pictures_internal.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

constexpr VectorShape kShape{4, 48};

// Q unit vectors: `of`, which are as many, with some noise.
std::vector<float> near_to(const std::vector<float>& of, float noise, Random& random) {
  std::vector<float> vectors(of.size());
  const auto width = static_cast<std::size_t>(kShape.width);
  for (std::size_t begin = 0; begin < of.size(); begin += width) {
    float sum = 0;
    for (std::size_t i = begin; i < begin + width; ++i) {
      vectors[i] = of[i] + noise * static_cast<float>(random.uniform(-1, 1));
      sum += vectors[i] * vectors[i];
    }
    for (std::size_t i = begin; i < begin + width; ++i) vectors[i] /= std::sqrt(sum);
  }
  return vectors;
}

std::vector<float> any_vectors(Random& random) {
  return near_to(std::vector<float>(static_cast<std::size_t>(kShape.queries * kShape.width)), 1,
                 random);
}

class DuplicatesTest : public testing::Test {
 protected:
  DuplicatesTest() {
    std::string name = (fs::temp_directory_path() / "blip2_duplicates_XXXXXX").string();
    root_ = mkdtemp(name.data());
    writer_ = std::make_unique<IndexWriter>(root_ + "/index", IndexIdentity{"model", "/m", kShape});
  }
  ~DuplicatesTest() override { fs::remove_all(root_); }

  // Adds a picture of its own content with a file of `bytes` bytes; its number.
  std::int64_t add(const std::string& path, const std::vector<float>& vectors,
                   std::int64_t width = 100, std::int64_t height = 100, std::uint64_t bytes = 10,
                   char colour = 100) {
    PictureFacts facts;
    facts.content = {++contents_, 0};
    facts.width = width;
    facts.height = height;
    facts.look = std::string(192, colour);
    const std::int64_t picture = writer_->add_picture(facts, vectors);
    add_file(path, picture, bytes, 1000);
    return picture;
  }
  void add_file(const std::string& path, std::int64_t picture, std::uint64_t bytes,
                std::int64_t modified) {
    writer_->put_file({path, bytes, modified, picture, ""});
  }
  std::shared_ptr<const PictureIndex> written() {
    writer_->commit();
    return PictureIndex::open(root_ + "/index");
  }
  std::vector<DuplicateGroup> find(const DuplicateOptions& options = {}) {
    return find_duplicates(*written(), options);
  }
  static DuplicateOptions only(DuplicateKind kind, float threshold = 0.97f) {
    DuplicateOptions options{.exact = kind == DuplicateKind::exact, .near = {}, .alike = {}};
    if (kind == DuplicateKind::near) options.near = threshold;
    if (kind == DuplicateKind::alike) options.alike = threshold;
    return options;
  }

  std::string root_;
  std::unique_ptr<IndexWriter> writer_;
  std::uint64_t contents_ = 0;
  Random random_{3};
};

TEST_F(DuplicatesTest, NoneInAnEmptyIndex) {
  EXPECT_TRUE(find().empty());
  add("/a", any_vectors(random_));
  EXPECT_TRUE(find().empty());
}

TEST_F(DuplicatesTest, TheOldestOfOneContentIsTheBest) {
  const std::int64_t picture = add("/b", any_vectors(random_));
  add_file("/c", picture, 10, 999);
  add_file("/a", picture, 10, 1000);
  add("/other", any_vectors(random_));
  const auto groups = find();
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].kind, DuplicateKind::exact);
  EXPECT_EQ(groups[0].paths, (Names{"/c", "/a", "/b"}));
}

TEST_F(DuplicatesTest, TheLargestOfNearPicturesIsTheBest) {
  const std::vector<float> vectors = any_vectors(random_);
  add("/small", near_to(vectors, 0.01f, random_), 50, 50, 500);
  add("/large", near_to(vectors, 0.01f, random_), 200, 200, 100);
  add("/heavy", near_to(vectors, 0.01f, random_), 200, 200, 200);
  add("/rounded", near_to(vectors, 0.01f, random_), 31, 30, 1);
  add("/wide", near_to(vectors, 0.01f, random_), 400, 200, 100);
  add("/red", near_to(vectors, 0.01f, random_), 20, 20, 1, 125);
  add("/other", any_vectors(random_));
  const auto groups = find();
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].kind, DuplicateKind::near);
  EXPECT_EQ(groups[0].paths, (Names{"/heavy", "/large", "/small", "/rounded"}));
  EXPECT_EQ(groups[1].kind, DuplicateKind::alike);  // of another shape or colour
  EXPECT_EQ(groups[1].paths, (Names{"/wide", "/heavy", "/large", "/small", "/rounded", "/red"}));
}

// A chain, of which each is near to the next one only: nothing is in a group whose best it is far
// from.
TEST_F(DuplicatesTest, GroupsAreNearToTheirBest) {
  const std::vector<float> first = any_vectors(random_), last = any_vectors(random_);
  constexpr int kSteps = 40;
  for (int i = 0; i < kSteps; ++i) {
    std::vector<float> between(first.size());
    const float share = static_cast<float>(i) / kSteps;
    for (std::size_t k = 0; k < between.size(); ++k) {
      between[k] = (1 - share) * first[k] + share * last[k];
    }
    add("/" + std::to_string(100 + i), near_to(between, 0, random_), 100, 100,
        static_cast<std::uint64_t>(1000 - i));
  }
  const auto index = written();
  const auto groups = find_duplicates(*index, only(DuplicateKind::near, 0.95f));
  ASSERT_GE(groups.size(), 2u);
  std::size_t members = 0;
  for (const DuplicateGroup& group : groups) {
    members += group.paths.size();
    EXPECT_TRUE(std::ranges::is_sorted(group.paths));
  }
  EXPECT_LE(members, static_cast<std::size_t>(kSteps));
}

// Sketches lose nothing that comparing all pictures finds, whatever the parts and dropped pictures.
TEST_F(DuplicatesTest, LikePicturesAreThoseOfAFullComparison) {
  std::vector<std::int64_t> pictures;
  for (int i = 0; i < 40; ++i) {
    const std::vector<float> vectors = any_vectors(random_);
    for (int k = 0; k < 6; ++k) {
      const float noise = static_cast<float>(random_.uniform(0, 0.2));
      const std::string path = "/" + std::to_string(i) + "_" + std::to_string(k);
      pictures.push_back(add(path, near_to(vectors, noise, random_)));
    }
    if (i >= 30 && i % 3 == 0) writer_->commit();  // the first generation is like the others
    if (i % 10 == 5)
      writer_->remove_file("/" + std::to_string(i) + "_0"), pictures.erase(pictures.end() - 6);
  }
  const auto index = written();
  const auto parts = index->parts();
  constexpr float kThreshold = 0.9f;
  const SimilarPictures similar(*index, pictures, 3);
  std::size_t found = 0;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const SearchTerm term{index->vectors_of(pictures[i]), 1};
    std::vector<std::size_t> expected;
    for (std::size_t part = 0; part < parts.size(); ++part) {
      const std::vector<float> scores = all_scores(parts[part], std::span(&term, 1), 1);
      for (std::size_t row = 0; row < scores.size(); ++row) {
        const auto place = std::ranges::find(pictures, index->picture_at(part, row));
        const auto other = static_cast<std::size_t>(place - pictures.begin());
        if (scores[row] < kThreshold || place == pictures.end() || other == i) continue;
        if (other % 5 != 0) expected.push_back(other);
      }
    }
    std::ranges::sort(expected);
    found += expected.size();
    const auto may = [](std::size_t other) { return other % 5 != 0; };
    EXPECT_EQ(similar.like(i, kThreshold, may), expected) << i;
  }
  EXPECT_GT(found, 150u);
}

// Very many pictures that are all alike make one group, and no list of all pairs.
TEST_F(DuplicatesTest, ManyAlikePicturesAreOneGroup) {
  const std::vector<float> vectors = any_vectors(random_);
  for (int i = 0; i < 3000; ++i) add("/" + std::to_string(i), near_to(vectors, 0.02f, random_));
  const auto groups = find(only(DuplicateKind::alike, 0.9f));
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].paths.size(), 3000u);
}

}  // namespace
}  // namespace blip2
