// Reads a list of jobs as JSON from standard input and runs them in order. Each has "config" (a
// table), "weights" (a file), and by "do":
// features: prefix, dtype ("blocks": matrices in blocks, the rest in f32), form ("packed"),
// image_size (0: the configuration's) or any_aspect (the most patches), input ("pixel_values"),
// output
//   ("features").
// gradients: input ("pixel_values", "weight"), output: the gradient of sum(features * weight) to
//   each parameter, and "pixel_values".
// save: output, the weights as they are saved; prints the configuration as it is written.
// preprocessing: output, a preprocessor_config.json.
// memory: dtype; prints bytes of the parameters, growth of the peak of resident memory by loading,
//   and by loading and one picture.
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/image/transform.h"
#include "blip2/io/safetensors.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/vision/foreign_names.h"
#include "blip2/vision/image_encoders.h"

namespace {

using nlohmann::json;

at::ScalarType type_of(const std::string& name) {
  return name == "bf16" ? at::kBFloat16 : name == "f16" ? at::kHalf : at::kFloat;
}

blip2::VisionConfig config_of(const json& job, const blip2::TensorFile& file) {
  if (job.value("lavis", false)) {
    return blip2::lavis_vit_config(file, job.value("prefix", ""));
  }
  return blip2::read_vision_config(job.at("config"), "config");
}

std::shared_ptr<blip2::ImageEncoder> load(const json& job, bool trainable = false) {
  const std::shared_ptr<const blip2::TensorFile> file =
      blip2::open_tensor_file(job.at("weights").get<std::string>());
  const auto config = config_of(job, *file);
  const std::string prefix = blip2::find_encoder_prefix(*file, config);
  if (job.contains("prefix") && job["prefix"] != prefix) {
    throw blip2::Error("found the prefix '" + prefix + "'");
  }
  const std::string type = job.value("dtype", "f32");
  const auto form = type == "blocks"       ? blip2::MatrixForm::blocks
                    : job.contains("form") ? blip2::MatrixForm::packed
                                           : blip2::MatrixForm::stored;
  return blip2::load_image_encoder(file, config, prefix, type_of(type), trainable, form);
}

at::Tensor read(const json& job, const char* name) {
  return blip2::to_tensor(blip2::open_tensor_file(job.at("input").get<std::string>())->get(name));
}

void write(const json& job, const std::vector<blip2::TensorView>& views) {
  blip2::write_safetensors(job.at("output").get<std::string>(), views);
}

// "any_aspect": the most patches of a picture.
void take_pictures(const json& job, blip2::ImageEncoder& encoder) {
  if (!job.contains("any_aspect")) return;
  blip2::Preprocessing pictures;
  pictures.max_num_patches = job["any_aspect"].get<int>();
  pictures.patch_size = job.at("config").value("patch_size", 16);
  encoder.take_pictures(pictures);
}

void features(const json& job) {
  const auto encoder = load(job);
  take_pictures(job, *encoder);
  if (const std::int64_t size = job.value("image_size", 0); size > 0) {
    encoder->set_image_size(size);
  }
  const at::Tensor result = encoder->forward(read(job, "pixel_values"));
  const bool any_aspect = job.contains("any_aspect");
  TORCH_CHECK(any_aspect || result.size(1) == encoder->positions());
  TORCH_CHECK(result.size(2) == encoder->width());
  write(job, {blip2::view_of("features", result.contiguous())});
}

void gradients(const json& job) {
  const auto encoder = load(job, /*trainable=*/true);
  take_pictures(job, *encoder);
  const at::Tensor pixels = read(job, "pixel_values").requires_grad_();
  (encoder->forward(pixels) * read(job, "weight")).sum().backward();
  std::vector<at::Tensor> keep{pixels.grad().contiguous()};
  std::vector<blip2::TensorView> views{blip2::view_of("pixel_values", keep[0])};
  for (const auto& item : encoder->named_parameters()) {
    keep.push_back(item.value().grad().contiguous());
    views.push_back(blip2::view_of(item.key(), keep.back()));
  }
  write(job, views);
}

std::int64_t status(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":")) return std::stoll(line.substr(key.size() + 1)) * 1024;
  }
  return 0;
}

void memory(const json& job) {
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak starts anew
  const std::int64_t before = status("VmRSS");
  const auto encoder = load(job);
  const std::int64_t loaded = status("VmHWM") - before;
  const std::int64_t size = encoder->image_size();
  encoder->forward(at::zeros({1, 3, size, size}));
  std::int64_t bytes = 0;
  for (const auto& parameter : encoder->parameters()) {
    bytes += static_cast<std::int64_t>(parameter.nbytes());
  }
  std::cout << json{{"bytes", bytes}, {"load", loaded}, {"run", status("VmHWM") - before}} << "\n";
}

void run(const json& job) {
  const std::string what = job.at("do");
  if (what == "features") features(job);
  if (what == "gradients") gradients(job);
  if (what == "memory") memory(job);
  if (what == "save") {
    const auto encoder = load(job);
    write(job, blip2::views_of(*encoder));
    std::cout << encoder->config_json() << "\n";
  }
  if (what == "preprocessing") {
    const auto config = blip2::read_vision_config(job.at("config"), "config");
    blip2::save_preprocessing(blip2::default_preprocessing(config),
                              job.at("output").get<std::string>());
  }
}

}  // namespace

int main() {
  at::set_num_threads(2);
  try {
    for (const json& job : json::parse(std::cin)) run(job);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
