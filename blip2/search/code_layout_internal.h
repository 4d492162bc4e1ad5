#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "blip2/search/codes.h"

namespace blip2 {

// Where a picture's bytes lie. The head has kHeadNumbers rows of `lanes` signed bytes, a lane for
// each of the Q vectors (lanes beyond Q are 0), then for each lane the length of the rest of its
// vector as 16 bits. The body has `stride` signed bytes for each vector; those beyond E are 0.
struct CodeLayout {
  static constexpr std::size_t kHeadNumbers = 16;
  static constexpr double kLengthUnit = 1.0 / 16384;  // of the lengths in heads

  explicit CodeLayout(VectorShape shape)
      : queries(static_cast<std::size_t>(shape.queries)),
        width(static_cast<std::size_t>(shape.width)),
        lanes((queries + 7) / 8 * 8),
        stride((width + 31) / 32 * 32),
        head(lanes * (kHeadNumbers + sizeof(std::uint16_t))),
        body(queries * stride) {}

  // Bytes and lengths of a head.
  static const std::int8_t* numbers(const std::byte* at) {
    return reinterpret_cast<const std::int8_t*>(at);
  }
  std::uint16_t length(const std::byte* at, std::size_t lane) const {
    std::uint16_t value;
    std::memcpy(&value, at + lanes * kHeadNumbers + 2 * lane, sizeof value);
    return value;
  }

  std::size_t queries, width, lanes, stride;
  std::size_t head, body;  // bytes
};

}  // namespace blip2
