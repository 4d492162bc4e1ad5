#include "blip2/data/feature_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <latch>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/message_of.h"
#include "blip2/data/test_file.h"
#include "blip2/vision/image_encoder.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// 6 x 6 pictures that grow brighter; the "encoder" gives each row of pixels as a position.
class FeatureCacheTest : public ::testing::Test {
 protected:
  FeatureCacheTest() {
    char pattern[] = "/tmp/blip2_cache_XXXXXX";
    folder_ = ::mkdtemp(pattern);
    key_.encoder = "rows";
    key_.preprocessing.width = key_.preprocessing.height = 6;
    key_.positions = 6;
    key_.width = 18;
    key_.storage = at::kFloat;
  }
  ~FeatureCacheTest() override { std::filesystem::remove_all(folder_); }

  std::string picture(const std::string& name, std::uint8_t value) {
    Image image{6, 6, std::vector<std::uint8_t>(6 * 6 * 3)};
    for (std::size_t i = 0; i < 108; ++i) image.rgb[i] = static_cast<std::uint8_t>(value + 2 * i);
    write_without_sync(folder_ / name, encode_png(image));
    return (folder_ / name).string();
  }
  Encoder encoder() {
    return [this](const at::Tensor& pixels) {
      encoded_ += pixels.size(0);
      if (encoded_ > fail_after_) throw Error("stopped");
      return pixels.transpose(1, 2).flatten(2);  // [B, H, 3 W]
    };
  }
  FeatureTable ensure(FeatureCache& cache, const std::vector<std::string>& pictures,
                      std::int64_t views = 1) {
    EnsureOptions options;
    options.views = views;
    options.batch_size = 2;
    return cache.ensure(pictures, encoder(), options);
  }
  at::Tensor expected(const std::string& path) {
    return to_tensor(preprocess(load_image(path), key_.preprocessing)).transpose(0, 1).flatten(1);
  }

  std::filesystem::path folder_;
  FeatureKey key_;
  std::int64_t encoded_ = 0, fail_after_ = 1 << 20;
};

TEST_F(FeatureCacheTest, ComputesOnceAndFindsAgain) {
  const std::vector<std::string> pictures{picture("a.png", 1), picture("b.png", 2),
                                          picture("copy_of_a.png", 1)};
  {
    FeatureCache cache(folder_ / "cache", key_);
    const FeatureTable table = ensure(cache, pictures);
    EXPECT_EQ(table.computed, 2);
    EXPECT_EQ(table.row(0), table.row(2));
    cache.read_ahead(table.rows);
    const at::Tensor rows = cache.gather(table.rows).stacked();
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(at::equal(rows[static_cast<std::int64_t>(i)], expected(pictures[i])));
    }
  }
  FeatureCache again(folder_ / "cache", key_);
  EXPECT_EQ(again.rows(), 2);
  EXPECT_EQ(ensure(again, pictures).computed, 0);
  EXPECT_EQ(encoded_, 2);
}

// A row has room for the most positions, and a picture gets back its own.
TEST_F(FeatureCacheTest, PicturesOfAnyAspectHaveTheirOwnPositions) {
  key_.preprocessing.max_num_patches = 6;
  key_.preprocessing.patch_size = 2;
  key_.width = 12;
  const auto wide = [&](const std::string& name, int width, int height) {
    write_without_sync(folder_ / name,
                       encode_png(Image{width, height,
                                        std::vector<std::uint8_t>(
                                            static_cast<std::size_t>(3 * width * height), 90)}));
    return (folder_ / name).string();
  };
  const std::vector<std::string> pictures{wide("a.png", 6, 6), wide("b.png", 40, 4),
                                          wide("c.png", 5, 9)};
  const auto patches = [&](const at::Tensor& pixels) {  // [B, N, 12]
    encoded_ += pixels.size(0);
    return at::im2col(pixels, {2, 2}, {1, 1}, {0, 0}, {2, 2}).transpose(1, 2);
  };
  for (int again = 0; again < 2; ++again) {
    FeatureCache cache(folder_ / "cache", key_);
    const FeatureTable table = cache.ensure(pictures, patches);
    const ImageFeatures features = cache.gather(table.rows);
    EXPECT_THAT(features.positions, ElementsAre(4, 6, 6));
    for (std::int64_t i = 0; i < 3; ++i) {
      const auto path = pictures[static_cast<std::size_t>(i)];
      const at::Tensor pixels = to_tensor(preprocess(load_image(path), key_.preprocessing));
      EXPECT_TRUE(at::equal(features.of(i), patches(pixels.unsqueeze(0))[0]));
    }
    encoded_ -= 3;
    EXPECT_EQ(features.select(std::vector<std::int64_t>{2, 0}).positions[1], 4);
  }
  EXPECT_EQ(encoded_, 3);
  FeatureKey other = key_;
  other.preprocessing.patch_size = 3;
  EXPECT_NE(FeatureCache(folder_, key_).folder(), FeatureCache(folder_, other).folder());
}

TEST_F(FeatureCacheTest, AChangedPictureIsSeen) {
  const std::vector<std::string> pictures{picture("a.png", 1)};
  FeatureCache cache(folder_ / "cache", key_);
  const auto before = ensure(cache, pictures);
  picture("a.png", 9);
  const auto after = ensure(cache, pictures);
  EXPECT_EQ(after.computed, 1);
  EXPECT_NE(after.row(0), before.row(0));
  EXPECT_TRUE(at::equal(cache.gather(after.rows).of(0), expected(pictures[0])));
}

TEST_F(FeatureCacheTest, MoreViewsKeepTheFirst) {
  const std::vector<std::string> pictures{picture("a.png", 1), picture("b.png", 2)};
  key_.augmentation.max_scale = 0.6;  // so that a view never is the whole of so small a picture
  FeatureCache cache(folder_ / "cache", key_);
  const auto plain = ensure(cache, pictures);
  const auto viewed = ensure(cache, pictures, 3);
  EXPECT_EQ(viewed.computed, 4);
  EXPECT_EQ(viewed.row(1, 0), plain.row(1));
  const at::Tensor views = cache.gather(std::span(viewed.rows).first(3)).stacked();
  EXPECT_TRUE(at::equal(views[0], expected(pictures[0])));
  EXPECT_FALSE(at::equal(views[1], views[0]));
  EXPECT_FALSE(at::equal(views[1], views[2]));
  FeatureCache other(folder_ / "other", key_);
  const auto again = ensure(other, pictures, 3);
  EXPECT_TRUE(at::equal(other.gather(std::span(again.rows).first(3)).stacked(), views));
}

TEST_F(FeatureCacheTest, TheKeyTellsCachesApart) {
  FeatureKey other = key_;
  other.augmentation.min_scale = 0.3;
  EXPECT_NE(FeatureCache(folder_, key_).folder(), FeatureCache(folder_, other).folder());
  other = key_;
  other.preprocessing.mean[0] += 0.1f;
  EXPECT_NE(FeatureCache(folder_, key_).folder(), FeatureCache(folder_, other).folder());
  other = key_;
  other.encoder = "another";
  const auto folder = FeatureCache(folder_, other).folder();
  write_without_sync(folder / "key.json", "{}");
  EXPECT_THAT(message_of([&] { FeatureCache(folder_, other); }), HasSubstr("delete the folder"));
}

TEST_F(FeatureCacheTest, InterruptedWorkIsKept) {
  std::vector<std::string> pictures;
  for (int i = 0; i < 7; ++i) {
    pictures.push_back(picture(std::to_string(i) + ".png", static_cast<std::uint8_t>(i)));
  }
  fail_after_ = 5;
  {
    FeatureCache cache(folder_ / "cache", key_);
    EXPECT_THAT(message_of([&] { ensure(cache, pictures); }), HasSubstr("stopped"));
  }
  fail_after_ = 1 << 20;
  FeatureCache cache(folder_ / "cache", key_);
  EXPECT_EQ(cache.rows(), 4);
  const auto table = ensure(cache, pictures);
  EXPECT_EQ(table.computed, 3);
  EXPECT_TRUE(at::equal(cache.gather(table.rows).of(6), expected(pictures[6])));
}

TEST_F(FeatureCacheTest, TornTailsAreComputedAnew) {
  const std::vector<std::string> pictures{picture("a.png", 1), picture("b.png", 2),
                                          picture("c.png", 3)};
  const auto folder = FeatureCache(folder_ / "cache", key_).folder();
  const auto tear = [&](const std::function<void()>& damage, std::int64_t left) {
    {
      FeatureCache cache(folder_ / "cache", key_);
      ensure(cache, pictures);
    }
    damage();
    FeatureCache cache(folder_ / "cache", key_);
    EXPECT_EQ(cache.rows(), left);
    const auto table = ensure(cache, pictures);
    EXPECT_EQ(table.computed, 3 - left);
    for (std::int64_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(at::equal(cache.gather(table.rows).of(i), expected(pictures[i])));
    }
  };
  const auto flip = [&](const char* name, std::int64_t offset) {
    std::fstream file(folder / name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(offset);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(offset);
    file.put(byte);
  };
  const auto resize = [&](const char* name, std::int64_t size) {
    std::filesystem::resize_file(folder / name, static_cast<std::uintmax_t>(size));
  };
  const std::int64_t row = 6 * 18 * 4;
  tear([&] { resize("index.bin", 2 * 40 + 13); }, 2);
  tear([&] { resize("rows.bin", 3 * row - 1); }, 2);
  tear([&] { flip("index.bin", 40 + 3); }, 1);
  tear([&] { flip("rows.bin", row + 7); }, 1);
  tear([&] { resize("rows.bin", 0); }, 0);
  tear([&] { std::filesystem::remove(folder / "index.bin"); }, 0);
}

TEST_F(FeatureCacheTest, ADamagedRowIsNotUsed) {
  const std::vector<std::string> pictures{picture("a.png", 1)};
  FeatureCache cache(folder_ / "cache", key_);
  const auto table = ensure(cache, pictures);
  std::fstream file(cache.folder() / "rows.bin", std::ios::in | std::ios::out | std::ios::binary);
  file.put('x').flush();
  EXPECT_THAT(message_of([&] { cache.gather(table.rows); }), HasSubstr("damaged"));
}

TEST_F(FeatureCacheTest, UnreadablePicturesAreListed) {
  write_without_sync(folder_ / "bad.png", "not a picture");
  const std::vector<std::string> pictures{picture("a.png", 1), (folder_ / "bad.png").string(),
                                          (folder_ / "missing.png").string(), picture("b.png", 2)};
  FeatureCache cache(folder_ / "cache", key_);
  const auto table = ensure(cache, pictures, 2);
  EXPECT_EQ(table.computed, 4);
  EXPECT_THAT(table.rows, ElementsAre(0, 1, -1, -1, -1, -1, 2, 3));
  EXPECT_EQ(table.unreadable.size(), 2u);
  EXPECT_THAT(table.unreadable.at(pictures[1]), HasSubstr("bad.png"));
  EXPECT_THAT(table.unreadable.at(pictures[2]), HasSubstr("missing.png"));
  const std::vector<std::string> some{pictures[3], pictures[0]};
  EXPECT_THAT(table.select(pictures, some).rows, ElementsAre(2, 3, 0, 1));
}

TEST_F(FeatureCacheTest, SeveralRunsShareTheWork) {
  std::vector<std::string> pictures;
  for (int i = 0; i < 12; ++i) {
    pictures.push_back(picture(std::to_string(i) + ".png", static_cast<std::uint8_t>(i)));
  }
  std::atomic<std::int64_t> computed{0};
  const auto run = [&] {
    FeatureCache cache(folder_ / "cache", key_);
    const auto same = [](const at::Tensor& pixels) { return pixels.transpose(1, 2).flatten(2); };
    const auto table = cache.ensure(pictures, same);
    computed += table.computed;
    EXPECT_TRUE(at::equal(cache.gather(table.rows).of(11), expected(pictures[11])));
  };
  {
    std::vector<std::jthread> runs;
    for (int i = 0; i < 3; ++i) runs.emplace_back(run);
  }
  EXPECT_EQ(computed, 12);
}

TEST_F(FeatureCacheTest, SeveralRunsComputeAtTheSameTime) {
  std::vector<std::string> pictures;
  for (int i = 0; i < 12; ++i) {
    pictures.push_back(picture(std::to_string(i) + ".png", static_cast<std::uint8_t>(i)));
  }
  std::latch both(2);
  std::mutex mutex;
  std::multiset<std::int64_t> parts;
  const auto run = [&] {
    FeatureCache cache(folder_ / "cache", key_);
    bool first = true;
    const auto encode = [&](const at::Tensor& pixels) {
      if (std::exchange(first, false)) both.arrive_and_wait();
      const std::lock_guard lock(mutex);
      parts.insert(pixels.size(0));
      return pixels.transpose(1, 2).flatten(2);
    };
    EnsureOptions options;
    options.batch_size = 5;
    const auto table = cache.ensure(pictures, encode, options);
    const at::Tensor rows = cache.gather(table.rows).stacked();
    for (std::int64_t i = 0; i < 12; ++i) {
      EXPECT_TRUE(at::equal(rows[i], expected(pictures[static_cast<std::size_t>(i)])));
    }
  };
  { const std::jthread one(run), other(run); }
  EXPECT_THAT(parts, ElementsAre(2, 5, 5));  // as one alone would
  EXPECT_EQ(FeatureCache(folder_ / "cache", key_).rows(), 12);
}

TEST_F(FeatureCacheTest, WhatIsGivenUpIsFreeForOthers) {
  const FeatureCache cache(folder_ / "cache", key_);
  FeatureStore store(cache.folder(), key_.to_text(), 6 * 18 * 4);
  const FeatureStore::Claims mine(store);
  {
    const FeatureStore::Claims others(store);
    EXPECT_TRUE(others.take({8, 1}) && others.take({80, 1}));
    EXPECT_FALSE(mine.take({8, 1}));
    EXPECT_TRUE(mine.take({88, 2}));
    others.give_back({8, 1});
    EXPECT_TRUE(mine.take({8, 1}));
    EXPECT_FALSE(mine.take({80, 1}));
  }
  EXPECT_TRUE(mine.take({80, 1}));
}

// A limit on file size stands for a full disk: write() fails half-way either way.
TEST_F(FeatureCacheTest, AFullDiskLeavesTheCacheValid) {
  const std::vector<std::string> pictures{picture("a.png", 1), picture("b.png", 2),
                                          picture("c.png", 3), picture("d.png", 4)};
  FeatureCache cache(folder_ / "cache", key_);
  struct rlimit before;
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit narrow = {6 * 18 * 4 * 5 / 2, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &narrow);
  const std::string message = message_of([&] { ensure(cache, pictures); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(message, HasSubstr("rows.bin"));
  EXPECT_THAT(message, HasSubstr("free some space"));
  EXPECT_EQ(std::filesystem::file_size(cache.folder() / "rows.bin"), 2u * 6 * 18 * 4);
  EXPECT_EQ(FeatureCache(folder_ / "cache", key_).rows(), 2);
  EXPECT_EQ(ensure(cache, pictures).computed, 2);
}

TEST(FeatureStoreTest, SaysUpFrontThatThereIsNoRoom) {
  const auto folder =
      std::filesystem::path(::testing::TempDir()) / ("blip2_no_room_" + std::to_string(::getpid()));
  const FeatureStore store(folder, "{}", 1 << 20);
  EXPECT_THAT(message_of([&] { store.require_space(std::int64_t{1} << 40); }),
              HasSubstr("do not fit"));
  std::filesystem::remove_all(folder);
}

TEST(ContentHashTest, SeesEveryByteAndTheLength) {
  std::vector<std::byte> bytes(100);
  std::set<ContentHash> seen{content_hash(bytes), content_hash(std::span(bytes).first(99))};
  for (std::byte& byte : bytes) {
    byte ^= std::byte{1};
    seen.insert(content_hash(bytes));
    byte ^= std::byte{1};
  }
  EXPECT_EQ(seen.size(), 102u);
  EXPECT_EQ(content_hash(bytes).hex().size(), 32u);
}

TEST(HashModuleTest, SeesEveryValue) {
  torch::nn::Linear linear(3, 2);
  const std::string before = hash_module(*linear);
  EXPECT_EQ(hash_module(*linear), before);
  const torch::NoGradGuard no_grad;
  linear->bias[1] += 1;
  EXPECT_NE(hash_module(*linear), before);
}

TEST(ChooseViewTest, IsUniformAndAFunctionOfPictureSeedAndStep) {
  const auto views = [](std::uint64_t seed, std::int64_t step) {
    std::vector<std::int64_t> views;
    for (std::int64_t picture = 0; picture < 400; ++picture) {
      views.push_back(choose_view(picture, 4, seed, step));
    }
    return views;
  };
  const auto chosen = views(1, 7);
  EXPECT_EQ(chosen, views(1, 7));
  EXPECT_NE(chosen, views(1, 8));
  EXPECT_NE(chosen, views(2, 7));
  for (std::int64_t view = 0; view < 4; ++view) {
    EXPECT_NEAR(std::count(chosen.begin(), chosen.end(), view), 100, 40);
  }
  EXPECT_EQ(choose_view(3, 1, 1, 7), 0);
}

}  // namespace
}  // namespace blip2
