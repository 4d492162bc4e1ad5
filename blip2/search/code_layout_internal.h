#pragma once

#include <cstddef>
#include <cstdint>

#include "blip2/search/codes.h"

namespace blip2 {

// Where a picture's bytes lie. The head has kHeadPairs rows of two signed bytes for each lane, a
// lane for each of the Q vectors (lanes beyond Q are 0), then for each lane a byte: the length of
// the rest of its vector in units of kLengthUnit, rounded up. The body has `stride` signed bytes
// for each vector; those beyond E are 0.
struct CodeLayout {
  static constexpr std::size_t kHeadNumbers = 16, kHeadPairs = kHeadNumbers / 2;
  static constexpr double kLengthUnit = 1.0 / 192;

  explicit CodeLayout(VectorShape shape)
      : queries(static_cast<std::size_t>(shape.queries)),
        width(static_cast<std::size_t>(shape.width)),
        lanes((queries + 7) / 8 * 8),
        stride((width + 31) / 32 * 32),
        head(lanes * (kHeadNumbers + 1)),
        body(queries * stride) {}

  // Places in a head.
  std::size_t number(std::size_t d, std::size_t lane) const {
    return (d / 2 * lanes + lane) * 2 + d % 2;
  }
  std::size_t length(std::size_t lane) const { return lanes * kHeadNumbers + lane; }

  std::size_t queries, width, lanes, stride;
  std::size_t head, body;  // bytes
};

}  // namespace blip2
