#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "blip2/image/image.h"

namespace blip2 {

// What a camera has written into a picture's EXIF.
struct CameraNotes {
  // DateTimeOriginal, else DateTimeDigitized: seconds since 1970 as if the camera's clock had shown
  // UTC. nullopt if there is neither, or it is no date.
  std::optional<std::int64_t> taken;
  // Maker and model in UTF-8 on one line, without the maker where the model names it itself
  // ("Canon EOS R5"); "" if there is neither.
  std::string camera;

  bool operator==(const CameraNotes&) const = default;
};

// Reads an EXIF block, with or without its "Exif\0\0" prefix; what is damaged is left out. Pure, as
// the others here.
CameraNotes read_camera_notes(std::span<const std::byte> exif);

// A picture with its camera's notes.
struct Photograph {
  Image image;
  CameraNotes notes;
};

// decode_image() with what EXIF says of the camera: of the block that gives the orientation.
Photograph decode_photograph(std::span<const std::byte> bytes, const std::string& where,
                             SixteenBit sixteen_bit = SixteenBit::cut,
                             const ImageLimits& limits = {});

}  // namespace blip2
