#include <fmt/format.h>
#include <fmt/ranges.h>
#include <array>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/blip2/model_flag.h"
#include "apps/blip2/output.h"
#include "apps/blip2/picture_flags.h"
#include "apps/blip2/verbs.h"
#include "blip2/image/image.h"
#include "blip2/image/transform.h"
#include "blip2/io/picture_format.h"
#include "blip2/io/safetensors.h"

namespace blip2 {
namespace {

struct PreprocessOptions {
  std::string model, image, output;
  bool json = false;
  PictureChoices pictures;
};

void run(const PreprocessOptions& options) {
  const auto settings =
      with_choices(load_preprocessing(preprocessing_file(options.model)), options.pictures);
  const PixelValues pixels = preprocess(load_image(options.image, settings.sixteen_bit), settings);
  const std::vector<std::int64_t> shape{1, 3, pixels.height, pixels.width};
  const TensorView view{"pixel_values", DType::f32, shape, std::as_bytes(std::span(pixels.values))};
  write_safetensors(options.output, std::span(&view, 1));
  if (options.json) {
    print_json({{"shape", shape}});
  } else {
    print_line(fmt::format("pixel_values {} -> {}", shape, options.output));
  }
}

}  // namespace

void add_preprocess(CLI::App& app) {
  auto* verb =
      app.add_subcommand("preprocess", "Write the pixel values that the image encoder reads");
  auto options = std::make_shared<PreprocessOptions>();
  add_model(*verb, "--model", options->model, "Model directory")->required();
  verb->add_option("IMAGE", options->image, "A picture: " + picture_names())->required();
  verb->add_option("--output", options->output, "File.safetensors to write")->required();
  add_picture_choices(*verb, options->pictures);
  add_json_flag(*verb, options->json);
  verb->callback([options] { run(*options); });
}

}  // namespace blip2
