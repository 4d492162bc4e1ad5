#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace blip2 {

// What a term asks of heads; see code_layout_internal.h for the bytes. All sums fit 32 bits.
struct HeadQuery {
  std::size_t lanes = 0;
  bool sums = false;                // a picture's term: the sum over lanes, not the maximum
  std::vector<std::int16_t> whole;  // [kHeadPairs, lanes, 2]
  std::vector<std::int32_t> reach;  // [lanes]: of one unit of the rest's length
  std::vector<std::int32_t> base;   // [lanes]: 0, or far below all others where no vector is
};

// A term's whole number for a picture lies between these.
struct ScoreInterval {
  std::int64_t low = 0, high = 0;
};

// The inner loops of scans and encoding, written for each instruction set; all give the same
// numbers.
struct ScanKernels {
  // The maximum or the sum over lanes of base + (sum of the head's numbers times `whole`) -+ (reach
  // times length), for `count` heads.
  void (*intervals)(const std::byte* heads, std::size_t count, const HeadQuery& query,
                    ScoreInterval* out);
  // The upper ends of one head's lanes: [lanes].
  void (*lane_highs)(const std::byte* head, const HeadQuery& query, std::int32_t* out);
  // The sums of products of `rows` rows of `width` codes and whole numbers: [rows]. Width is a
  // multiple of 32. The numbers of the next row lie `step` further: 0 if all rows share them.
  void (*products)(const std::int8_t* codes, std::size_t rows, std::size_t width,
                   const std::int16_t* whole, std::size_t step, std::int32_t* out);
  // The products of the rows [width, width] with each of `count` vectors: [count, width]. Sums have
  // a fixed order.
  void (*rotate)(const float* rows, const float* vectors, std::size_t count, std::size_t width,
                 float* out);
};

// Those for this processor, or the plain ones if the environment has BLIP2_KERNELS=plain. AVX2
// keeps up with the memory, so no larger vectors are used.
const ScanKernels& scan_kernels();

// All sets that this processor can run, the plain one first; for tests.
struct NamedScanKernels {
  const char* name;
  ScanKernels kernels;
};
std::vector<NamedScanKernels> runnable_scan_kernels();

}  // namespace blip2
