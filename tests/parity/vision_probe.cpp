// vision features WEIGHTS VARIANT SIZE f32|bf16 IN OUT: tensor "features" from "pixel_values".
// vision pictures WEIGHTS VARIANT OUT IMAGE…: the same from picture files, size and preprocessing
//   being the variant's own.
// vision cache WEIGHTS VARIANT FOLDER VIEWS OUT IMAGE…: view 0 as above through the feature cache;
//   prints what was computed, rows a second and the seconds of gathering 48 rows.
// vision speed WEIGHTS VARIANT f32|bf16 BATCH SECONDS: prints images per second.
#include <chrono>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/data/feature_cache.h"
#include "blip2/image/transform.h"
#include "blip2/io/safetensors.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/vision/image_encoders.h"

namespace {

using Arguments = std::vector<std::string>;

at::ScalarType type_of(const std::string& name) {
  return name == "bf16" ? at::kBFloat16 : at::kFloat;
}

void write(const std::string& path, const at::Tensor& features) {
  const std::vector<blip2::TensorView> views{blip2::view_of("features", features)};
  blip2::write_safetensors(path, views);
}

std::shared_ptr<blip2::ImageEncoder> load(const std::string& weights,
                                          const blip2::EfficientNetLiteConfig& config,
                                          at::ScalarType type = at::kFloat) {
  return blip2::load_image_encoder(blip2::open_tensor_file(weights), config, "", type);
}

void features(const Arguments& a) {
  auto config = blip2::EfficientNetLiteConfig::of(a.at(2));
  config.image_size = std::stoll(a.at(3));
  const auto network = load(a.at(1), config, type_of(a.at(4)));
  const auto input = blip2::open_tensor_file(a.at(5));
  write(a.at(6), network->forward(blip2::to_tensor(input->get("pixel_values"))));
}

void pictures(const Arguments& a) {
  const auto config = blip2::EfficientNetLiteConfig::of(a.at(2));
  const auto preprocessing = blip2::efficientnet_lite_preprocessing(config);
  std::vector<at::Tensor> pixels;
  for (std::size_t i = 4; i < a.size(); ++i) {
    pixels.push_back(blip2::to_tensor(blip2::preprocess(blip2::load_image(a[i]), preprocessing)));
  }
  write(a.at(3), load(a.at(1), config)->forward(at::stack(pixels)));
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void cache(const Arguments& a) {
  const auto config = blip2::EfficientNetLiteConfig::of(a.at(2));
  const auto network = load(a.at(1), config);
  blip2::FeatureKey key;
  key.encoder = blip2::hash_module(*network);
  key.preprocessing = blip2::efficientnet_lite_preprocessing(config);
  key.positions = network->positions();
  key.width = network->width();
  blip2::FeatureCache store(a.at(3), key);
  blip2::EnsureOptions options;
  options.views = std::stoll(a.at(4));
  const std::vector<std::string> images(a.begin() + 6, a.end());
  blip2::FeatureTable table;
  const auto encode = [&](const at::Tensor& pixels) { return network->forward(pixels); };
  const double computing = seconds_of([&] { table = store.ensure(images, encode, options); });
  std::vector<std::int64_t> plain, batch;
  for (std::size_t i = 0; i < images.size(); ++i) plain.push_back(table.row(std::ssize(plain)));
  for (std::size_t i = 0; i < 48; ++i) batch.push_back(table.rows[i * 37 % table.rows.size()]);
  store.gather(batch);
  const double gathering = seconds_of([&] { store.gather(batch); });
  std::cout << table.computed << " " << static_cast<double>(table.computed) / computing << " "
            << gathering << "\n";
  write(a.at(5), store.gather(plain).stacked());
}

void speed(const Arguments& a) {
  const auto config = blip2::EfficientNetLiteConfig::of(a.at(2));
  const auto network = load(a.at(1), config, type_of(a.at(3)));
  const std::int64_t batch = std::stoll(a.at(4)), size = config.image_size;
  const at::Tensor pixels = at::rand({batch, 3, size, size});
  network->forward(pixels);
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  std::int64_t images = 0;
  double seconds = 0;
  for (; seconds < std::stod(a.at(5)); images += batch) {
    network->forward(pixels);
    seconds = std::chrono::duration<double>(Clock::now() - start).count() + 1e-9;
  }
  std::cout << static_cast<double>(images) / seconds << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments(argv + 1, argv + argc);
  at::set_num_threads(2);
  try {
    if (arguments.at(0) == "features") features(arguments);
    if (arguments.at(0) == "pictures") pictures(arguments);
    if (arguments.at(0) == "cache") cache(arguments);
    if (arguments.at(0) == "speed") speed(arguments);
  } catch (const blip2::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
