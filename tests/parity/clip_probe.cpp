// clip DIR JOB OUTPUT: the JSON file JOB has lists "images" (paths) and "texts"; OUTPUT becomes a
// safetensors file of their unit vectors, and the texts' ids are printed, a JSON list a line.
#include <iostream>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/io/json.h"
#include "blip2/io/safetensors.h"
#include "blip2/model/clip_model.h"
#include "blip2/nn/tensor_bridge.h"

namespace {

void run(const std::string& folder, const std::string& job, const std::string& output) {
  const nlohmann::json names = blip2::read_json(job);
  const auto images = names.at("images").get<std::vector<std::string>>();
  const auto texts = names.at("texts").get<std::vector<std::string>>();
  const blip2::ClipModel model(folder);
  const blip2::ReadFiles<at::Tensor> read = model.embed_images(images);
  const at::Tensor vectors = model.embed_texts(texts);
  blip2::write_safetensors(output, std::vector{blip2::view_of("images", read.features),
                                               blip2::view_of("texts", vectors)});
  for (const std::string& text : texts) {
    std::cout << nlohmann::json(model.tokenize(text)).dump() << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argv[1], argv[2], argv[3]);
  } catch (const blip2::Error& error) {
    blip2::log_line(error.what());
    return 1;
  }
  return argc == 4 ? 0 : 2;
}
