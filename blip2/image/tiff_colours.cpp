#include <fmt/format.h>
#include <tiff.h>

#include <algorithm>
#include <cstring>

#include "blip2/image/tiff_colours_internal.h"

namespace blip2 {
namespace {

// Samples of a pixel's colour, without extra ones; 0 if the interpretation is not read.
int colour_samples(int photometric) {
  switch (photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_PALETTE:
      return 1;
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_YCBCR:
      return 3;
    case PHOTOMETRIC_SEPARATED:
      return 4;
    default:
      return 0;
  }
}

template <typename Number>
Number sample_at(const std::vector<std::uint8_t>& samples, std::size_t place) {
  Number value;
  std::memcpy(&value, samples.data() + place * sizeof value, sizeof value);
  return value;
}

// Numbers beyond 0 to 255 become black and white, fractions are cut off.
template <typename Number>
void cut_numbers(const std::vector<std::uint8_t>& samples, Image& image) {
  for (std::size_t i = 0; i < image.rgb.size() / 3; ++i) {
    const Number value = sample_at<Number>(samples, i);
    const bool positive = value > Number{0};  // false for NaN
    const int grey = !positive ? 0 : value >= Number{255} ? 255 : static_cast<int>(value);
    std::memset(image.rgb.data() + 3 * i, grey, 3);
  }
}

void tiff_grey16(const std::vector<std::uint8_t>& samples, SixteenBit sixteen_bit,
                 const std::string& where, Image& image) {
  bool above = false;
  for (std::size_t i = 0; i < image.rgb.size() / 3; ++i) {
    const auto value = sample_at<std::uint16_t>(samples, i);
    above = above || value > 255;
    const int grey = sixteen_bit == SixteenBit::scale ? value >> 8 : std::min<int>(value, 255);
    std::memset(image.rgb.data() + 3 * i, grey, 3);
  }
  if (above && sixteen_bit == SixteenBit::cut) warn_of_cut(where);
}

// The palette of grey values of up to 8 bits.
Palette tiff_greys(const TiffLayout& layout) {
  Palette palette{};
  const int top = (1 << std::min(layout.bits, 8)) - 1;
  for (int i = 0; i <= top; ++i) {
    const int value = i * 255 / top;
    palette[i].fill(static_cast<std::uint8_t>(
        layout.photometric == PHOTOMETRIC_MINISWHITE ? 255 - value : value));
  }
  return palette;
}

// 16-bit samples are cut to their upper byte.
void halve_samples(std::vector<std::uint8_t>& samples) {
  for (std::size_t i = 0; i < samples.size() / 2; ++i) {
    samples[i] = static_cast<std::uint8_t>(sample_at<std::uint16_t>(samples, i) >> 8);
  }
  samples.resize(samples.size() / 2);
}

enum class Opacity { none, straight, multiplied };

Opacity opacity_of(const TiffLayout& layout) {
  if (layout.extra.empty() || layout.extra[0] == EXTRASAMPLE_UNSPECIFIED) return Opacity::none;
  return layout.extra[0] == EXTRASAMPLE_ASSOCALPHA ? Opacity::multiplied : Opacity::straight;
}

// A colour that has been multiplied by its opacity, divided by it again as Pillow does.
std::uint8_t divided(std::uint8_t value, std::uint8_t alpha) {
  if (alpha == 0) return 0;
  return alpha == 255 ? value : static_cast<std::uint8_t>(std::min(255, 255 * value / alpha));
}

Colour colour_of_pixel(const std::uint8_t* in, const TiffLayout& layout, const Palette& palette) {
  if (layout.photometric == PHOTOMETRIC_RGB) return {in[0], in[1], in[2]};
  if (layout.photometric != PHOTOMETRIC_SEPARATED) return palette[in[0]];
  const unsigned light = 255u - in[3];
  Colour colour{};
  for (int c = 0; c < 3; ++c) {
    colour[c] =
        static_cast<std::uint8_t>(std::max(0, static_cast<int>(light) - product(in[c], light)));
  }
  return colour;
}

void tiff_colours(const std::vector<std::uint8_t>& samples, const TiffLayout& layout,
                  const Palette& palette, Image& image) {
  const Opacity opacity = opacity_of(layout);
  const int colours = colour_samples(layout.photometric);
  const std::uint8_t* in = samples.data();
  for (std::size_t i = 0; i < image.rgb.size(); i += 3, in += layout.samples) {
    Colour colour = colour_of_pixel(in, layout, palette);
    if (opacity != Opacity::none) {
      const std::uint8_t alpha = in[colours];
      for (std::uint8_t& value : colour) {
        if (opacity == Opacity::multiplied) value = divided(value, alpha);
        value = over_white(value, alpha);
      }
    }
    std::memcpy(image.rgb.data() + i, colour.data(), 3);
  }
}

}  // namespace

int TiffLayout::colours() const {
  const bool unused = std::ranges::all_of(extra, [](std::uint16_t kind) { return kind == 0; });
  return unused ? samples - static_cast<int>(extra.size()) : samples;
}

std::string unknown_tiff_colours(const TiffLayout& layout) {
  const int colours = layout.photometric == PHOTOMETRIC_YCBCR && layout.samples == 1
                          ? 1
                          : colour_samples(layout.photometric);
  if (colours == 0) return fmt::format("photometric interpretation {}", layout.photometric);
  const int extra = static_cast<int>(layout.extra.size());
  if (layout.samples != colours + extra || layout.samples > 6) {
    return fmt::format("{} samples a pixel", layout.samples);
  }
  const bool grey = layout.photometric <= PHOTOMETRIC_MINISBLACK && layout.samples == 1;
  const bool whole = layout.sample_format == SAMPLEFORMAT_UINT;
  const bool few = grey || (layout.photometric == PHOTOMETRIC_PALETTE && layout.samples == 1);
  if (whole && layout.bits == 8) return {};
  if (whole && few && (layout.bits == 1 || layout.bits == 2 || layout.bits == 4)) return {};
  if (whole && layout.bits == 16 && layout.photometric != PHOTOMETRIC_PALETTE &&
      layout.photometric != PHOTOMETRIC_YCBCR && (grey || colours > 1)) {
    return {};
  }
  if (grey && layout.sample_format == SAMPLEFORMAT_INT && layout.bits >= 16 && layout.bits <= 32 &&
      layout.bits % 16 == 0) {
    return {};
  }
  if (grey && layout.bits == 32 && layout.sample_format <= SAMPLEFORMAT_IEEEFP) return {};
  return fmt::format("{} samples of {} bits and format {}", layout.samples, layout.bits,
                     layout.sample_format);
}

Image tiff_to_rgb(std::vector<std::uint8_t> samples, const TiffLayout& layout,
                  const TiffPalette& palette, SixteenBit sixteen_bit, const std::string& where) {
  const bool grey = layout.samples == 1 && layout.photometric <= PHOTOMETRIC_MINISBLACK;
  const int width = static_cast<int>(layout.width), height = static_cast<int>(layout.height);
  if (layout.photometric == PHOTOMETRIC_RGB && layout.bits == 8 && layout.samples == 3) {
    return {width, height, std::move(samples)};
  }
  Image image = blank_image(width, height);
  if (grey && layout.sample_format == SAMPLEFORMAT_IEEEFP) {
    cut_numbers<float>(samples, image);
  } else if (grey && layout.bits == 32) {
    cut_numbers<std::int32_t>(samples, image);
  } else if (grey && layout.sample_format == SAMPLEFORMAT_INT) {
    cut_numbers<std::int16_t>(samples, image);
  } else if (grey && layout.bits == 16) {
    tiff_grey16(samples, sixteen_bit, where, image);
  } else {
    if (layout.bits == 16) halve_samples(samples);
    const bool indexed = layout.photometric == PHOTOMETRIC_PALETTE;
    tiff_colours(samples, layout, indexed ? palette : tiff_greys(layout), image);
  }
  return image;
}

bool has_tiff_tag(std::span<const std::byte> file, std::uint16_t tag) {
  const bool big_endian = !file.empty() && file[0] == std::byte{'M'};
  const auto number = [&](std::uint64_t at, int count) -> std::uint64_t {
    if (at > file.size() || file.size() - at < static_cast<std::size_t>(count)) return 0;
    std::uint64_t value = 0;
    for (int i = 0; i < count; ++i) {
      const int place = big_endian ? i : count - 1 - i;
      value = value << 8 | static_cast<std::uint64_t>(file[at + static_cast<std::size_t>(place)]);
    }
    return value;
  };
  const bool big = number(2, 2) == 43;  // BigTIFF
  const std::uint64_t directory = big ? number(8, 8) : number(4, 4);
  const std::uint64_t entries = std::min<std::uint64_t>(number(directory, big ? 8 : 2), 65535);
  std::uint64_t at = directory + (big ? 8 : 2);
  for (std::uint64_t i = 0; i < entries && at < file.size(); ++i, at += big ? 20 : 12) {
    if (number(at, 2) == tag) return true;
  }
  return false;
}

}  // namespace blip2
