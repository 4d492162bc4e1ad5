#include "blip2/data/picture_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "blip2/image/image.h"
#include "blip2/io/tar_place.h"
#include "blip2/io/test_files.h"
#include "blip2/vision/image_encoder.h"

namespace blip2 {
namespace {

using ::testing::HasSubstr;

class PictureLoaderTest : public ::testing::Test {
 protected:
  PictureLoaderTest() {
    options_.preprocessing.width = options_.preprocessing.height = 8;
    for (int i = 0; i < 12; ++i) {
      Image image{10, 9, std::vector<std::uint8_t>(10 * 9 * 3)};
      for (std::size_t b = 0; b < image.rgb.size(); ++b) {
        image.rgb[b] = static_cast<std::uint8_t>(17 * i + 3 * b);
      }
      const auto path = folder_ / (std::to_string(i) + ".png");
      std::ofstream(path, std::ios::binary) << (i == 7 ? "no picture" : encode_png(image));
      pictures_.push_back(path.string());
    }
  }

  at::Tensor plain(std::int64_t place) {
    return to_tensor(
        preprocess(load_image(pictures_[static_cast<std::size_t>(place)]), options_.preprocessing));
  }

  const blip2::testing::TemporaryFolder temporary_;
  const std::filesystem::path& folder_ = temporary_.path();
  std::vector<std::string> pictures_;
  PictureLoaderOptions options_;
};

TEST_F(PictureLoaderTest, GivesThePlainPicturesInOrder) {
  PictureLoader loader(pictures_, options_);
  const std::vector<std::int64_t> places{3, 0, 3, 11};
  loader.prepare(5, places);
  const LoadedPictures got = loader.take(5, places);
  ASSERT_EQ(got.pixels.size(), 4u);
  for (std::size_t i = 0; i < places.size(); ++i) {
    EXPECT_FALSE(got.is_bad(i));
    EXPECT_TRUE(got.pixels[i].equal(plain(places[i])));
  }
}

TEST_F(PictureLoaderTest, ViewsDependOnSeedStepAndPictureAlone) {
  options_.augmentation.emplace();
  const auto views = [&](std::size_t threads, bool ahead, std::uint64_t seed) {
    options_.threads = threads;
    options_.seed = seed;
    PictureLoader loader(pictures_, options_);
    std::vector<at::Tensor> all;
    for (std::int64_t step = 0; step < 6; ++step) {
      const auto places = [](std::int64_t s) { return std::vector<std::int64_t>{s, 2, 5}; };
      for (std::int64_t s = step; ahead && s < std::min<std::int64_t>(6, step + 3); ++s) {
        loader.prepare(s, places(s));
      }
      all.push_back(at::stack(loader.take(step, places(step)).pixels));
    }
    return at::stack(all);
  };
  const at::Tensor once = views(1, false, 4);
  EXPECT_TRUE(once.equal(views(3, true, 4)));
  EXPECT_FALSE(once.equal(views(1, false, 5)));
  EXPECT_FALSE(once[0][1].equal(once[1][1])) << "another step gives another view";
}

TEST_F(PictureLoaderTest, NamesWhatCannotBeRead) {
  pictures_.push_back("/no/such.png");
  pictures_.push_back(TarPlace{folder_ / "no.tar", "m.png", 0, 10}.to_text());
  PictureLoader loader(pictures_, options_);
  const LoadedPictures got = loader.take(0, std::vector<std::int64_t>{1, 7, 12, 13});
  EXPECT_FALSE(got.is_bad(0));
  EXPECT_THAT(got.failures[1], HasSubstr("7.png"));
  EXPECT_THAT(got.failures[2], HasSubstr("/no/such.png"));
  EXPECT_THAT(got.failures[3], HasSubstr("no.tar"));
  EXPECT_FALSE(got.pixels[1].defined());
}

TEST_F(PictureLoaderTest, ReadsAnewWhatWasNotPrepared) {
  PictureLoader loader(pictures_, options_);
  loader.prepare(0, std::vector<std::int64_t>{1, 2});
  loader.prepare(1, std::vector<std::int64_t>{3});
  EXPECT_TRUE(loader.take(0, std::vector<std::int64_t>{4}).pixels[0].equal(plain(4)));
  EXPECT_TRUE(loader.take(1, std::vector<std::int64_t>{3}).pixels[0].equal(plain(3)));
  loader.prepare(9, std::vector<std::int64_t>{0, 1, 2, 3, 4, 5});  // never taken
}

TEST_F(PictureLoaderTest, TakesFromShards) {
  const std::string bytes = read_source(pictures_[4]);
  std::ofstream(folder_ / "s.tar", std::ios::binary) << std::string(512, 'h') << bytes;
  pictures_.push_back(TarPlace{folder_ / "s.tar", "4.png", 512, bytes.size()}.to_text());
  PictureLoader loader(pictures_, options_);
  EXPECT_TRUE(loader.take(0, std::vector<std::int64_t>{12}).pixels[0].equal(plain(4)));
}

}  // namespace
}  // namespace blip2
