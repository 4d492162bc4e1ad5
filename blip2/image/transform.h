#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "blip2/base/random.h"
#include "blip2/image/image.h"
#include "blip2/image/resize.h"

namespace blip2 {

// How a picture becomes the encoder's input, as a Hugging Face preprocessor_config.json says it. A
// plain value; several threads may call the functions of this header at once, augment and
// random_view with a Random each.
struct Preprocessing {
  int width = 224, height = 224;            // of the result, after the centre crop if there is one
  int resize_width = 0, resize_height = 0;  // before the crop; 0: the result's size, no crop
  int shortest_edge = 0;  // > 0: resize the shorter side to this instead and keep the aspect
  // > 0: instead of one size, the picture's aspect and sides of whole patches, at most so many
  // (SigLIP 2's NaFlex).
  int max_num_patches = 0;
  int patch_size = 16;          // in pixels; with max_num_patches
  bool resizes_floats = false;  // rescale first, then resize in f32 (DINOv3ViTImageProcessor)
  Filter filter = Filter::bicubic;
  double rescale_factor = 1.0 / 255;
  bool normalised = true;  // false: mean is 0 and std is 1
  std::array<float, 3> mean = {0.48145466f, 0.4578275f, 0.40821073f};  // CLIP's
  std::array<float, 3> std = {0.26862954f, 0.26130258f, 0.27577711f};
  std::string image_processor_type = "BlipImageProcessor";
  Resampler processor = Resampler::pillow;  // which of transformers' processors gives the values
  SixteenBit sixteen_bit = SixteenBit::cut;

  bool operator==(const Preprocessing&) const = default;
};

// Choices of a user that override a model directory's preprocessing; nullopt: as the directory
// says.
struct PictureChoices {
  std::optional<Resampler> processor;
  std::optional<SixteenBit> sixteen_bit;
};

// The preprocessing with these choices. Throws Error if they ask for torchvision, which lacks the
// preprocessing's filter.
Preprocessing with_choices(Preprocessing preprocessing, const PictureChoices& choices);

// The path of a model directory's preprocessor_config.json or, if it has none, of its
// processor_config.json.
std::filesystem::path preprocessing_file(const std::filesystem::path& folder);

// Reads a preprocessor_config.json, or the "image_processor" of a processor_config.json. Throws
// Error naming the file and key if a value has the wrong type, or if the result would have neither
// a fixed size nor a bound (padding, no resizing).
Preprocessing load_preprocessing(const std::filesystem::path& path);

// Writes a preprocessor_config.json that transformers reads to the same preprocessing.
void save_preprocessing(const Preprocessing& preprocessing, const std::filesystem::path& path);

// The encoder's input: [3, height, width] floats, row-major.
struct PixelValues {
  int width = 0, height = 0;
  std::vector<float> values;
};

// The encoder's input of a picture: resize, centre crop (zero-padded where the
// picture is smaller), then (float(value * rescale_factor) - mean) / std in float32. Equal, bit for
// bit, to transformers' processors given the picture as a PIL image: the PIL-backed one
// (BlipImageProcessorPil) or, if `processor` says so, the torchvision-backed one; to rounding where
// it resizes floats. A
// Siglip2ImageProcessor cuts the same values into patches and pads them, which is left to whoever
// needs it.
PixelValues preprocess(const Image& image, const Preprocessing& preprocessing);

// The resized and cropped picture that preprocess() normalises: 8-bit.
Image fit(const Image& image, const Preprocessing& preprocessing);

// The normalising step alone, of a picture of any size.
PixelValues normalise(const Image& image, const Preprocessing& preprocessing);

// A random resized crop and a horizontal flip, drawn as by torchvision's RandomResizedCrop: area
// uniform in [min_scale, max_scale], ratio log-uniform in [min_ratio, max_ratio].
struct Augmentation {
  double min_scale = 0.5, max_scale = 1;
  double min_ratio = 3 / 4., max_ratio = 4 / 3.;
  double flip_probability = 0.5;

  bool operator==(const Augmentation&) const = default;
};

// The encoder's input of a random view of the picture; the augmentation's crop replaces the
// resizing and cropping of the preprocessing, but for pictures of any aspect, whose views keep
// theirs.
PixelValues augment(const Image& image, const Preprocessing& preprocessing,
                    const Augmentation& augmentation, Random& random);

// The view that augment() normalises: 8-bit.
Image random_view(const Image& image, const Preprocessing& preprocessing,
                  const Augmentation& augmentation, Random& random);

}  // namespace blip2
