#include "apps/blip2/picture_flags.h"

#include <string>

namespace blip2 {

void add_picture_choices(CLI::App& verb, PictureChoices& choices) {
  verb.add_option_function<std::string>(
          "--processor",
          [&choices](const std::string& name) {
            choices.processor = name == "pillow" ? Resampler::pillow : Resampler::torchvision;
          },
          "Pixel values as those of transformers' image processor with pillow, or with "
          "torchvision, "
          "its default; if not given, as the model directory says, else pillow")
      ->check(CLI::IsMember({"pillow", "torchvision"}));
  verb.add_option_function<std::string>(
          "--sixteen-bit",
          [&choices](const std::string& name) {
            choices.sixteen_bit = name == "cut" ? SixteenBit::cut : SixteenBit::scale;
          },
          "How 16-bit grey becomes 8 bits: cut at 255, as Pillow does, or scale; if not given, as "
          "the model directory says, else cut")
      ->check(CLI::IsMember({"cut", "scale"}));
}

}  // namespace blip2
