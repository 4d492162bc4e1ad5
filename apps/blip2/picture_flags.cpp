#include "apps/blip2/picture_flags.h"

#include <string>

namespace blip2 {

void add_picture_choices(CLI::App& verb, PictureChoices& choices) {
  verb.add_option_function<std::string>(
          "--processor",
          [&choices](const std::string& name) {
            choices.processor = name == "pillow" ? Resampler::pillow : Resampler::torchvision;
          },
          "Whose pixel values: of transformers' processor with pillow, or with torchvision, which "
          "is "
          "its default; if not given, as the model directory says, else pillow")
      ->check(CLI::IsMember({"pillow", "torchvision"}));
  verb.add_option_function<std::string>(
          "--sixteen-bit",
          [&choices](const std::string& name) {
            choices.sixteen_bit = name == "cut" ? SixteenBit::cut : SixteenBit::scale;
          },
          "16-bit grey: cut at 255, as Pillow does, or scale to 8 bits; if not given, as the model "
          "directory says, else cut")
      ->check(CLI::IsMember({"cut", "scale"}));
}

}  // namespace blip2
