#pragma once

#include <cstdint>

namespace blip2 {

// What the codes of GGUF's IQ4_NL and MXFP4 stand for, as in ggml-common.h. Those of MXFP4 are
// twice the four-bit floats of the OCP Microscaling formats, for half of the scale.
inline constexpr std::int8_t kIq4NlValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                 1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr std::int8_t kMxfp4Values[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                                 0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace blip2
