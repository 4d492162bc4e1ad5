// image JOBS.jsonl OUT.safetensors: runs each job and writes its result as the tensor named by its
// number; a job that fails prints {"job": N, "error": …} instead, and the job "notes" what the
// camera has written: {"job": N, "taken": …, "camera": …, "size": [width, height]}.
#include <chrono>
#include <fstream>
#include <iostream>
#include <list>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/image/image.h"
#include "blip2/image/photograph.h"
#include "blip2/image/resize.h"
#include "blip2/image/transform.h"
#include "blip2/io/safetensors.h"

namespace {

using blip2::Image;
using nlohmann::json;

// Owns results until they are written.
struct Results {
  std::list<std::vector<std::uint8_t>> bytes;
  std::list<std::vector<float>> floats;
  std::vector<blip2::TensorView> views;

  void add(const std::string& name, Image image) {
    const auto& rgb = bytes.emplace_back(std::move(image.rgb));
    views.push_back(
        {name, blip2::DType::u8, {image.height, image.width, 3}, std::as_bytes(std::span(rgb))});
  }
  void add(const std::string& name, blip2::PixelValues pixels) {
    const auto& kept = floats.emplace_back(std::move(pixels.values));
    views.push_back({name,
                     blip2::DType::f32,
                     {3, pixels.height, pixels.width},
                     std::as_bytes(std::span(kept))});
  }
};

blip2::Filter filter_of(const std::string& name) {
  if (name == "box") return blip2::Filter::box;
  if (name == "bilinear") return blip2::Filter::bilinear;
  if (name == "lanczos") return blip2::Filter::lanczos;
  return blip2::Filter::bicubic;
}

Image resized(const Image& image, const json& job) {
  std::optional<blip2::Box> box;
  if (job.contains("box")) {
    const auto& b = job["box"];
    box = {b[0], b[1], b[2], b[3]};
  }
  return resize(image, job["width"], job["height"], filter_of(job["filter"]), box);
}

void print_notes(const json& job, const std::string& name) {
  const std::string path = job["image"], file = blip2::read_file(path);
  const auto picture = blip2::decode_photograph(std::as_bytes(std::span(file)), path);
  json taken;
  if (picture.notes.taken) taken = *picture.notes.taken;
  std::cout << json{{"job", std::stoi(name)},
                    {"taken", taken},
                    {"camera", picture.notes.camera},
                    {"size", {picture.image.width, picture.image.height}}}
            << "\n";
}

void run(const json& job, const std::string& name, Results& results) {
  const std::string op = job["op"];
  if (op == "notes") return print_notes(job, name);
  const auto sixteen_bit = job.value("sixteen_bit", "cut") == "scale" ? blip2::SixteenBit::scale
                                                                      : blip2::SixteenBit::cut;
  const Image image = blip2::load_image(job["image"].get<std::string>(), sixteen_bit);
  if (op == "decode") {
    results.add(name, image);
  } else if (op == "reencode") {
    const std::string png = encode_png(image);
    results.add(name, blip2::decode_image(std::as_bytes(std::span(png)), "re-encoded"));
  } else if (op == "resize") {
    results.add(name, resized(image, job));
  } else {
    auto preprocessing = blip2::load_preprocessing(job["config"].get<std::string>());
    save_preprocessing(preprocessing, job["config"].get<std::string>() + ".saved");
    results.add(name, preprocess(image, preprocessing));
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::ifstream jobs(argv[1]);
  Results results;
  std::string line;
  for (int number = 0; std::getline(jobs, line); ++number) {
    try {
      run(json::parse(line), std::to_string(number), results);
    } catch (const blip2::Error& error) {
      std::cout << json{{"job", number}, {"error", error.what()}} << "\n";
    }
  }
  blip2::write_safetensors(argv[2], results.views);
  return 0;
}
