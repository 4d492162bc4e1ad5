#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/image/transform.h"
#include "blip2/io/json.h"
#include "blip2/io/members.h"

namespace blip2 {
namespace {

using nlohmann::json;

// PIL.Image.Resampling's numbers, which "resample" holds.
constexpr std::pair<int, Filter> kResample[] = {
    {1, Filter::lanczos}, {2, Filter::bilinear}, {3, Filter::bicubic}, {4, Filter::box}};

// Keys of our own, which transformers passes over.
constexpr const char *kProcessor = "processor", *kSixteenBit = "sixteen_bit";
constexpr std::pair<const char*, Resampler> kProcessors[] = {
    {"pillow", Resampler::pillow}, {"torchvision", Resampler::torchvision}};
constexpr std::pair<const char*, SixteenBit> kSixteenBits[] = {{"cut", SixteenBit::cut},
                                                               {"scale", SixteenBit::scale}};

// One preprocessor_config.json, with errors that name the key.
class Config {
 public:
  explicit Config(const std::filesystem::path& path)
      : where_(path.string()), json_(read_json(path)) {
    if (!json_.is_object()) throw Error("expected a JSON object", where_);
    // transformers 5 keeps it within the processor's configuration.
    if (const json* inner = find("image_processor")) {
      if (!inner->is_object()) fail("image_processor", "expected a table of keys");
      json_ = json(*inner);
    }
  }

  [[noreturn]] void fail(const char* key, const std::string& what) const {
    throw Error(what, where_ + ": " + key);
  }
  // One of two words, the first if there is none.
  template <typename Choice>
  Choice choice(const char* key, const std::pair<const char*, Choice> (&choices)[2]) const {
    const json* value = find(key);
    if (value == nullptr) return choices[0].second;
    for (const auto& [word, choice] : choices) {
      if (*value == word) return choice;
    }
    fail(key, fmt::format("expected \"{}\" or \"{}\", got {}", choices[0].first, choices[1].first,
                          value->dump()));
  }
  const json* find(const char* key) const { return find_member(json_, {key}); }
  template <typename T>
  T get(const char* key, T fallback) const {
    return member_or(json_, key, std::move(fallback), where_);
  }
  std::array<float, 3> three(const char* key, const std::array<float, 3>& fallback) const {
    const json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_array() || value->size() != 3) fail(key, "expected three numbers");
    std::array<float, 3> numbers;
    for (std::size_t i = 0; i < 3; ++i) {
      if (!(*value)[i].is_number()) fail(key, "expected three numbers");
      numbers[i] = static_cast<float>((*value)[i].get<double>());
    }
    return numbers;
  }
  // A side in pixels out of {"height": …} or the like, or 0 where it is not named.
  int side(const char* key, const json& object, const char* name) const {
    const json* found = find_member(object, {name});
    return found ? pixels(key, *found) : 0;
  }
  int pixels(const char* key, const json& value) const {
    constexpr int kMost = 16384;
    if (!value.is_number_integer() || value.get<double>() < 1 || value.get<double>() > kMost) {
      fail(key, fmt::format("expected 1 to {}, got {}", kMost, value.dump()));
    }
    return value.get<int>();
  }

 private:
  std::string where_;
  json json_;
};

// "size": {"height", "width"}, {"shortest_edge"}, or a number (the shortest edge with a crop).
void read_size(const Config& config, bool cropped, Preprocessing& p) {
  const json* size = config.find("size");
  if (size == nullptr) return;
  int width = 0, height = 0;
  if (size->is_object()) {
    width = config.side("size", *size, "width");
    height = config.side("size", *size, "height");
    p.shortest_edge = config.side("size", *size, "shortest_edge");
  } else if (cropped && !config.get("default_to_square", false)) {
    p.shortest_edge = config.pixels("size", *size);
  } else {
    width = height = config.pixels("size", *size);
  }
  if (p.shortest_edge == 0 && (width == 0 || height == 0)) {
    config.fail("size", "expected height and width, or shortest_edge, got " + size->dump());
  }
  if (p.shortest_edge > 0) return;
  (cropped ? p.resize_width : p.width) = width;
  (cropped ? p.resize_height : p.height) = height;
}

void read_crop(const Config& config, Preprocessing& p) {
  const json* size = config.find("crop_size");
  if (size == nullptr) return;
  if (size->is_object()) {
    p.width = config.side("crop_size", *size, "width");
    p.height = config.side("crop_size", *size, "height");
  } else {
    p.width = p.height = config.pixels("crop_size", *size);
  }
  if (p.width == 0 || p.height == 0) config.fail("crop_size", "expected height and width");
}

// A Siglip2ImageProcessor's "patch_size" and "max_num_patches", in place of a size.
void read_patches(const Config& config, Preprocessing& p) {
  constexpr std::int64_t kMostPixels = std::int64_t{16384} * 16384;
  const json* most = config.find("max_num_patches");
  p.max_num_patches = most ? config.pixels("max_num_patches", *most) : 256;
  if (const json* patch = config.find("patch_size")) {
    p.patch_size = config.pixels("patch_size", *patch);
  }
  if (std::int64_t{p.patch_size} * p.patch_size * p.max_num_patches > kMostPixels) {
    config.fail("max_num_patches", "the patches have too many pixels");
  }
  for (const char* key : {"size", "crop_size"}) {
    if (config.find(key)) config.fail(key, "pictures of any aspect have no such size");
  }
}

// The shortest decimals that read back to the same floats.
nlohmann::ordered_json decimals(const std::array<float, 3>& numbers) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const float number : numbers) json.push_back(std::stod(fmt::format("{}", number)));
  return json;
}

Filter read_filter(const Config& config, Filter fallback) {
  const json* value = config.find("resample");
  if (value == nullptr) return fallback;
  for (const auto& [number, filter] : kResample) {
    if (value->is_number_integer() && *value == number) return filter;
  }
  config.fail("resample",
              "expected 1 (lanczos), 2 (bilinear), 3 (bicubic) or 4 (box), got " + value->dump());
}

// The one size of all pictures.
void read_frame(const Config& config, Preprocessing& p) {
  const bool cropped = config.get("do_center_crop", config.find("crop_size") != nullptr);
  if (cropped) read_crop(config, p);
  read_size(config, cropped, p);
  if (p.shortest_edge > 0 && !cropped) {
    config.fail("size", "shortest_edge without a centre crop gives pictures of several sizes");
  }
}

}  // namespace

std::filesystem::path preprocessing_file(const std::filesystem::path& folder) {
  const auto own = folder / "preprocessor_config.json", whole = folder / "processor_config.json";
  return !std::filesystem::exists(own) && std::filesystem::exists(whole) ? whole : own;
}

Preprocessing load_preprocessing(const std::filesystem::path& path) {
  const Config config(path);
  if (!config.get("do_resize", true)) {
    config.fail("do_resize", "expected true: the encoder takes pictures of one size");
  }
  if (config.get("do_pad", false)) config.fail("do_pad", "padding is not supported");
  Preprocessing p;
  p.image_processor_type = config.get("image_processor_type", p.image_processor_type);
  if (p.image_processor_type.starts_with("Siglip2ImageProcessor")) {
    read_patches(config, p);
    p.mean = p.std = {0.5f, 0.5f, 0.5f};
    p.filter = Filter::bilinear;
  } else {
    read_frame(config, p);
  }
  if (p.image_processor_type.starts_with("DINOv3ViTImageProcessor")) {
    if (config.get("do_center_crop", config.find("crop_size") != nullptr)) {
      config.fail("do_center_crop", "a DINOv3ViTImageProcessor's crop is not supported");
    }
    p.resizes_floats = true;
    p.mean = {0.485f, 0.456f, 0.406f};
    p.std = {0.229f, 0.224f, 0.225f};
    p.filter = Filter::bilinear;
  }
  p.filter = read_filter(config, p.filter);
  p.rescale_factor =
      config.get("do_rescale", true) ? config.get("rescale_factor", p.rescale_factor) : 1.0;
  p.normalised = config.get("do_normalize", true);
  p.mean = p.normalised ? config.three("image_mean", p.mean) : std::array<float, 3>{0, 0, 0};
  p.std = p.normalised ? config.three("image_std", p.std) : std::array<float, 3>{1, 1, 1};
  for (const float s : p.std) {
    if (!(s > 0)) config.fail("image_std", "expected numbers above 0");
  }
  p.processor = config.choice(kProcessor, kProcessors);
  p.sixteen_bit = config.choice(kSixteenBit, kSixteenBits);
  return with_choices(p, {});
}

Preprocessing with_choices(Preprocessing p, const PictureChoices& choices) {
  p.processor = choices.processor.value_or(p.processor);
  p.sixteen_bit = choices.sixteen_bit.value_or(p.sixteen_bit);
  if (p.processor == Resampler::torchvision && p.filter == Filter::box) {
    throw Error("torchvision has no box filter", "preprocessor_config.json: resample",
                "take the processor \"pillow\"");
  }
  return p;
}

void save_preprocessing(const Preprocessing& p, const std::filesystem::path& path) {
  const bool cropped = p.shortest_edge > 0 || p.resize_width > 0;
  nlohmann::ordered_json json;
  json["image_processor_type"] = p.image_processor_type;
  json["do_convert_rgb"] = true;
  json["do_resize"] = true;
  if (p.max_num_patches > 0) {
    json["max_num_patches"] = p.max_num_patches;
    json["patch_size"] = p.patch_size;
  } else if (p.shortest_edge > 0) {
    json["size"] = {{"shortest_edge", p.shortest_edge}};
  } else {
    json["size"] = {{"height", cropped ? p.resize_height : p.height},
                    {"width", cropped ? p.resize_width : p.width}};
  }
  for (const auto& [number, filter] : kResample) {
    if (filter == p.filter) json["resample"] = number;
  }
  if (p.max_num_patches == 0) json["do_center_crop"] = cropped;
  if (cropped) json["crop_size"] = {{"height", p.height}, {"width", p.width}};
  json["do_rescale"] = true;
  json["rescale_factor"] = p.rescale_factor;
  json["do_normalize"] = p.normalised;
  json["image_mean"] = decimals(p.mean);
  json["image_std"] = decimals(p.std);
  if (p.processor == Resampler::torchvision) json[kProcessor] = "torchvision";
  if (p.sixteen_bit == SixteenBit::scale) json[kSixteenBit] = "scale";
  write_file(path, json.dump(2) + "\n");
}

}  // namespace blip2
