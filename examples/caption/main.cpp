// caption MODEL PICTURE: says what is on a picture. MODEL is a model directory with a language
// model, PICTURE a file of a format that is read (docs/data.md).
#include <blip2/blip2.h>

#include <iostream>
#include <span>
#include <string>
#include <string_view>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "caption MODEL PICTURE\n";
    return 2;
  }
  try {
    const at::InferenceMode inference;
    const blip2::GenerationModel model(argv[1]);
    const std::string picture = argv[2];
    const blip2::Prompt prompt = model.config().caption_prompt;
    blip2::GenerationOptions options;
    options.beams = 5;
    options.max_new_tokens = 30;
    const auto chosen = [](std::string_view) { return false; };  // the model's own settings count
    blip2::apply_generation_config(argv[1], chosen, options);
    const auto seen = model.project_images(std::span(&picture, 1));
    const auto texts = model.generate(seen, std::span(&prompt, 1), options);
    std::cout << texts[0][0].text << "\n";
    return 0;
  } catch (const blip2::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
