#include "blip2/image/image.h"

#include <gmock/gmock.h>

#include <unistd.h>

#include <filesystem>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/image/codecs_internal.h"
#include "blip2/image/orientation_internal.h"
#include "blip2/image/transform.h"

namespace blip2 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Pixel (x, y) is {10 x, 10 y, 7}.
Image ramp(int width, int height) {
  Image image = blank_image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      std::uint8_t* pixel = image.rgb.data() + 3 * (y * width + x);
      pixel[0] = static_cast<std::uint8_t>(10 * x);
      pixel[1] = static_cast<std::uint8_t>(10 * y);
      pixel[2] = 7;
    }
  }
  return image;
}

std::vector<int> channel(const Image& image, int c) {
  std::vector<int> values;
  for (std::size_t i = c; i < image.rgb.size(); i += 3) values.push_back(image.rgb[i]);
  return values;
}

TEST(OverWhite, IsPillowsRounding) {
  EXPECT_EQ(over_white(0, 0), 255);
  EXPECT_EQ(over_white(200, 255), 200);
  EXPECT_EQ(over_white(0, 128), 127);   // 255 * 127 / 255
  EXPECT_EQ(over_white(100, 51), 224);  // 100 / 5 + 255 * 4 / 5
}

TEST(Resize, AveragesWhenHalving) {
  const Image image{4, 1, {0, 0, 0, 100, 100, 100, 20, 20, 20, 60, 60, 60}};
  // Box halves are exact; the bilinear kernel weighs 1:3:3:1, cut and normalised at the edge.
  EXPECT_THAT(channel(resize(image, 2, 1, Filter::box), 0), ElementsAre(50, 40));
  EXPECT_THAT(channel(resize(image, 2, 1, Filter::bilinear), 0), ElementsAre(46, 49));
}

TEST(Resize, KeepsConstantsAndSize) {
  Image image = blank_image(17, 5);
  std::fill(image.rgb.begin(), image.rgb.end(), 201);
  for (const Filter filter : {Filter::box, Filter::bilinear, Filter::bicubic, Filter::lanczos}) {
    const Image out = resize(image, 40, 3, filter);
    EXPECT_EQ(out.width, 40);
    EXPECT_EQ(out.height, 3);
    EXPECT_THAT(out.rgb, testing::Each(201));
  }
  EXPECT_EQ(resize(ramp(9, 4), 9, 4, Filter::bicubic), ramp(9, 4));
}

TEST(Resize, RefusesNonsense) {
  EXPECT_THROW(resize(ramp(4, 4), 0, 3, Filter::bicubic), Error);
  EXPECT_THROW(resize(Image{}, 3, 3, Filter::bicubic), Error);
  EXPECT_THROW(resize(ramp(4, 4), 2, 2, Filter::box, Box{0, 0, 5, 4}), Error);
  EXPECT_THROW(resize(ramp(4, 4), 2, 2, Filter::box, Box{2, 0, 2, 4}), Error);
  EXPECT_THROW(resize(ramp(4, 4), 2, 2, Filter::box, Box{-1, 0, 2, 4}), Error);
}

TEST(Crop, FillsTheOutsideWithBlack) {
  const Image out = crop(ramp(3, 2), -1, 1, 3, 2);
  EXPECT_THAT(channel(out, 0), ElementsAre(0, 0, 10, 0, 0, 0));
  EXPECT_THAT(channel(out, 1), ElementsAre(0, 10, 10, 0, 0, 0));
  EXPECT_THAT(channel(crop(ramp(2, 2), 5, 5, 1, 1), 2), ElementsAre(0));
}

TEST(Flip, MirrorsLeftAndRight) {
  EXPECT_THAT(channel(flip_horizontally(ramp(3, 2)), 0), ElementsAre(20, 10, 0, 20, 10, 0));
}

TEST(Upright, TurnsAndMirrors) {
  const Image stored = ramp(2, 3);  // reds 0 10 in each row, greens 0, 10, 20
  EXPECT_EQ(upright(stored, 1), stored);
  EXPECT_EQ(upright(stored, 9), stored);
  EXPECT_THAT(channel(upright(stored, 2), 0), ElementsAre(10, 0, 10, 0, 10, 0));
  EXPECT_THAT(channel(upright(stored, 3), 1), ElementsAre(20, 20, 10, 10, 0, 0));
  EXPECT_THAT(channel(upright(stored, 4), 0), ElementsAre(0, 10, 0, 10, 0, 10));
  EXPECT_THAT(channel(upright(stored, 5), 1), ElementsAre(0, 10, 20, 0, 10, 20));
  const Image clockwise = upright(stored, 6);
  EXPECT_EQ(clockwise.width, 3);
  EXPECT_THAT(channel(clockwise, 1), ElementsAre(20, 10, 0, 20, 10, 0));
  EXPECT_THAT(channel(clockwise, 0), ElementsAre(0, 0, 0, 10, 10, 10));
  EXPECT_THAT(channel(upright(stored, 7), 1), ElementsAre(20, 10, 0, 20, 10, 0));
  EXPECT_THAT(channel(upright(stored, 8), 0), ElementsAre(10, 10, 10, 0, 0, 0));
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(Orientation, IsReadFromExifOfEitherByteOrder) {
  using namespace std::string_view_literals;
  const auto little = "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"sv;
  const auto big = "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0"sv;
  EXPECT_EQ(exif_orientation(bytes_of(little)), 6);
  EXPECT_EQ(exif_orientation(bytes_of(big)), 8);
  for (std::size_t size = 0; size < big.size(); ++size) {
    EXPECT_EQ(exif_orientation(bytes_of(big.substr(0, size))).value_or(0), 0) << size;
  }
  const auto far = "II*\0\xff\xff\xff\xff\x01\0"sv;  // a directory beyond the end
  EXPECT_EQ(exif_orientation(bytes_of(far)), std::nullopt);
}

TEST(Orientation, TellsNoneFromNothing) {
  using namespace std::string_view_literals;
  const auto nothing = "MM\0*\0\0\0\x08\0\x01\x01\x0e\0\x03\0\0\0\x01\0\x08\0\0"sv;  // another tag
  EXPECT_EQ(exif_orientation(bytes_of(nothing)), std::nullopt);
  const auto zero = "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0"sv;
  EXPECT_EQ(exif_orientation(bytes_of(zero)), 0);
  const auto two = "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x02\0\x06\0\x03"sv;
  EXPECT_EQ(exif_orientation(bytes_of(two)), 6);
  EXPECT_EQ(exif_orientation(bytes_of("not TIFF")), 0);
}

TEST(Orientation, IsReadFromXmp) {
  EXPECT_EQ(xmp_orientation("<x tiff:Orientation=\"3\"/>"), 3);
  EXPECT_EQ(xmp_orientation("<tiff:Orientation>8</tiff:Orientation>"), 8);
  EXPECT_EQ(xmp_orientation("tiff:Orientation=\""), 0);
  EXPECT_EQ(xmp_orientation("tiff:Orientation"), 0);
}

TEST(Normalise, RescalesThenStandardises) {
  Preprocessing p;
  p.mean = {0.5f, 0.25f, 0};
  p.std = {0.5f, 0.25f, 1};
  const std::vector<float> values = normalise(Image{2, 1, {0, 255, 51, 255, 0, 0}}, p).values;
  EXPECT_THAT(values, ElementsAre(-1, 1, 3, -1, static_cast<float>(51 * (1 / 255.)), 0));
}

TEST(Fit, CropsTheCentreOfTheShortestEdge) {
  Preprocessing p;
  p.shortest_edge = 4;
  p.width = p.height = 2;
  const Image out = fit(ramp(8, 4), p);  // already 4 high: columns 3, 4 and rows 1, 2
  EXPECT_THAT(channel(out, 0), ElementsAre(30, 40, 30, 40));
  EXPECT_THAT(channel(out, 1), ElementsAre(10, 10, 20, 20));
}

TEST(Fit, PutsASmallPictureInTheMiddleOfBlack) {
  Preprocessing p;
  p.resize_width = p.resize_height = 2;
  p.width = p.height = 5;
  const auto first = [&](Resampler processor) {
    p.processor = processor;
    const std::vector<int> greens = channel(fit(Image{1, 1, {9, 9, 9}}, p), 1);
    return std::find(greens.begin(), greens.end(), 9) - greens.begin();
  };
  EXPECT_EQ(first(Resampler::pillow), 2 * 5 + 2);       // the larger half before
  EXPECT_EQ(first(Resampler::torchvision), 1 * 5 + 1);  // the larger half behind
}

TEST(ResizeAndCrop, IsTheCropOfTheWhole) {
  Image image = blank_image(40, 30);
  Random random(5);
  for (auto& value : image.rgb) value = static_cast<std::uint8_t>(random.below(256));
  for (const Filter filter : {Filter::box, Filter::bilinear, Filter::bicubic, Filter::lanczos}) {
    for (const auto& [width, height] : {std::pair(90, 70), {40, 7}, {13, 30}, {40, 30}, {9, 80}}) {
      const Image whole = resize(image, width, height, filter);
      for (const Region& r : {Region{0, 0, 4, 5}, {3, 2, 6, 5}, {-2, -3, 12, 9}, {7, 4, 90, 80}}) {
        EXPECT_EQ(resize_and_crop(image, width, height, filter, r, Resampler::pillow),
                  crop(whole, static_cast<int>(r.x0), static_cast<int>(r.y0), r.width, r.height));
      }
    }
  }
  EXPECT_THROW(resize_and_crop(image, 9, 9, Filter::box, {0, 0, 9, 9}, Resampler::torchvision),
               Error);
}

TEST(RandomView, DependsOnTheSeedAlone) {
  const Image image = ramp(20, 12);
  Preprocessing p;
  p.width = 7;
  p.height = 5;
  Random a(1), b(1), c(2);
  const Image first = random_view(image, p, {}, a);
  EXPECT_EQ(first, random_view(image, p, {}, b));
  EXPECT_EQ(first.width, 7);
  EXPECT_EQ(first.height, 5);
  int different = 0;
  for (int i = 0; i < 20; ++i) different += random_view(image, p, {}, c) != first;
  EXPECT_GT(different, 15);
}

TEST(RandomView, WholePictureWithoutFlipIsAPlainResize) {
  Preprocessing p;
  p.width = p.height = 6;
  Random random(3);
  EXPECT_EQ(random_view(ramp(9, 9), p, {1, 1, 1, 1, 0}, random),
            resize(ramp(9, 9), 6, 6, p.filter));
  // No crop of a ratio near 1 has the area of the whole: the largest central one is taken.
  EXPECT_EQ(random_view(ramp(24, 4), p, {1, 1, 1, 1, 0}, random),
            resize(crop(ramp(24, 4), 10, 0, 4, 4), 6, 6, p.filter));
}

// The largest sides of whole patches whose number keeps within the bound; a picture of any aspect.
TEST(Transform, PatchesOfAnyAspect) {
  Preprocessing p;
  p.max_num_patches = 12;
  p.patch_size = 4;
  const auto sides = [&](int width, int height) {
    const Image image =
        fit(Image{width, height,
                  std::vector<std::uint8_t>(static_cast<std::size_t>(3 * width * height), 7)},
            p);
    EXPECT_THAT(image.rgb, testing::Each(7));
    return std::pair(image.width, image.height);
  };
  EXPECT_EQ(sides(8, 8), std::pair(12, 12));
  EXPECT_EQ(sides(400, 300), std::pair(16, 12));
  EXPECT_EQ(sides(30, 40), std::pair(12, 16));
  EXPECT_EQ(sides(900, 10), std::pair(48, 4));  // one patch high at least
  EXPECT_EQ(sides(1, 1), std::pair(12, 12));
  p.max_num_patches = 1;
  EXPECT_EQ(sides(70, 3), std::pair(4, 4));
  Random random(1);
  const PixelValues view = augment(ramp(24, 12), p, {}, random);
  EXPECT_EQ(view.values.size(), 3u * 4 * 4);
}

class Config : public testing::Test {
 protected:
  Preprocessing load(const std::string& text) {
    write_file(path_, text);
    return load_preprocessing(path_);
  }
  std::string error(const std::string& text) {
    try {
      load(text);
    } catch (const Error& e) {
      return e.what();
    }
    return "none";
  }
  ~Config() override { std::filesystem::remove(path_); }
  std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / (std::to_string(::getpid()) + "_preprocessor.json");
};

TEST_F(Config, PicturesOfAnyAspect) {
  const Preprocessing p = load(R"({"image_processor_type": "Siglip2ImageProcessorFast"})");
  EXPECT_EQ(p.max_num_patches, 256);
  EXPECT_EQ(p.patch_size, 16);
  EXPECT_EQ(p.filter, Filter::bilinear);
  EXPECT_EQ(p.mean[0], 0.5f);
  save_preprocessing(p, path_);
  EXPECT_EQ(load_preprocessing(path_), p);
  const auto refused = [this](const std::string& members) {
    return error(R"({"image_processor_type": "Siglip2ImageProcessor", )" + members + "}");
  };
  EXPECT_THAT(refused(R"("max_num_patches": 0)"), HasSubstr("max_num_patches: expected 1 to"));
  EXPECT_THAT(refused(R"("max_num_patches": 16384, "patch_size": 500)"), HasSubstr("too many"));
  EXPECT_THAT(refused(R"("size": {"height": 224, "width": 224})"),
              HasSubstr("size: pictures of any"));
  EXPECT_THAT(refused(R"("patch_size": "16")"), HasSubstr("patch_size"));
}

TEST_F(Config, Dinov3ResizesFloats) {
  Preprocessing p = load(R"({"image_processor_type": "DINOv3ViTImageProcessorFast"})");
  EXPECT_TRUE(p.resizes_floats);
  EXPECT_EQ(p.mean[0], 0.485f);
  save_preprocessing(p, path_);
  EXPECT_EQ(load_preprocessing(path_), p);
  // Two pixels become one: their mean, which no byte is.
  p.width = p.height = 1;
  const PixelValues values = preprocess(Image{2, 1, {0, 255, 51, 255, 0, 0}}, p);
  EXPECT_NEAR(values.values[0], (0.5 - 0.485) / 0.229, 1e-5);
  EXPECT_NEAR(values.values[2], (0.1 - 0.406) / 0.225, 1e-5);
  EXPECT_THAT(error(R"({"image_processor_type": "DINOv3ViTImageProcessor", "do_center_crop": true,
                        "crop_size": 200})"),
              HasSubstr("do_center_crop"));
}

TEST_F(Config, ReadsBackWhatItWrites) {
  Preprocessing p;
  p.width = 100;
  p.height = 90;
  p.filter = Filter::bilinear;
  p.mean = {0.1f, 0.2f, 0.3f};
  for (const int edge : {0, 128}) {
    p.shortest_edge = edge;
    save_preprocessing(p, path_);
    EXPECT_EQ(load_preprocessing(path_), p);
  }
  p.shortest_edge = 0;
  p.resize_width = p.resize_height = 120;
  p.processor = Resampler::torchvision;
  p.sixteen_bit = SixteenBit::scale;
  save_preprocessing(p, path_);
  EXPECT_EQ(load_preprocessing(path_), p);
}

TEST_F(Config, ReadsOldForms) {
  EXPECT_EQ(load(R"({"size": 384})").width, 384);
  const Preprocessing clip = load(R"({"size": 224, "crop_size": 200, "do_center_crop": true})");
  EXPECT_EQ(clip.shortest_edge, 224);
  EXPECT_EQ(clip.height, 200);
  EXPECT_EQ(load("{}"), Preprocessing{});
}

TEST_F(Config, NamesTheBadKey) {
  EXPECT_THAT(error(R"({"size": {"height": 3}})"), HasSubstr("size"));
  EXPECT_THAT(error(R"({"size": {"height": -3, "width": 3}})"), HasSubstr("1 to 16384"));
  EXPECT_THAT(error(R"({"size": 1e9})"), HasSubstr("size"));
  EXPECT_THAT(error(R"({"size": {"shortest_edge": 3}})"), HasSubstr("several sizes"));
  EXPECT_THAT(error(R"({"resample": 77})"), HasSubstr("resample"));
  EXPECT_THAT(error(R"({"image_mean": [1, 2]})"), HasSubstr("image_mean"));
  EXPECT_THAT(error(R"({"image_std": [1, 0, 1]})"), HasSubstr("above 0"));
  EXPECT_THAT(error(R"({"do_resize": false})"), HasSubstr("do_resize"));
  EXPECT_THAT(error(R"({"do_pad": true})"), HasSubstr("do_pad"));
  EXPECT_THAT(error(R"({"processor": "slow"})"), HasSubstr("\"pillow\" or \"torchvision\""));
  EXPECT_THAT(error(R"({"sixteen_bit": 8})"), HasSubstr("\"cut\" or \"scale\""));
  EXPECT_THAT(error(R"({"processor": "torchvision", "resample": 4})"), HasSubstr("box"));
  EXPECT_THAT(error(R"({"rescale_factor": "x"})"), HasSubstr("rescale_factor"));
  EXPECT_THAT(error("[]"), HasSubstr("object"));
}

}  // namespace
}  // namespace blip2
