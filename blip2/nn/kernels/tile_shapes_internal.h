#pragma once

#include <cstdint>

namespace blip2 {

// The shapes of AMX's tiles as LDTILECFG reads them: palette 1 has eight tiles of at most 16 rows
// of 64 bytes; what is not set stays zero, as it must. A product of tiles C += A B of bytes has C
// of M rows of 4 N bytes, A of M rows of K bytes and B of K / 4 rows of 4 N bytes: of each of N
// columns four neighbours in the width side by side.
struct TileShapes {
  std::uint8_t palette = 1, start = 0, reserved[14] = {};
  std::uint16_t bytes[16] = {};  // of a row
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

}  // namespace blip2
