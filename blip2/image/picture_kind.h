#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace blip2 {

// The formats that decode_image reads. Several threads may call the functions of this header at
// once.
enum class PictureKind { none, jpeg, png, webp };

// What a file is by its first bytes, of which kPictureStart are enough; `none` for any other file.
constexpr std::size_t kPictureStart = 12;
PictureKind picture_kind_of(std::span<const std::byte> bytes);

// Whether a file's name ends as pictures of these formats do (".jpg", ".JPEG", ".png", …).
bool has_picture_suffix(std::string_view name);

}  // namespace blip2
