#pragma once

#include <cstddef>
#include <cstdint>

namespace blip2 {

// The inner loops of a scan, compiled once for each instruction set; see code_layout_internal.h for
// the bytes.
struct ScanKernels {
  // For each lane the sum over the head's numbers of number * query[number][lane], in f32, plus
  // reach[lane] * length[lane]: sums [lanes].
  void (*head_bounds)(const std::byte* head, const float* query, const float* reach,
                      std::size_t lanes, float* sums);
  // The exact sum of count products; count is a multiple of 32.
  std::int32_t (*products)(const std::int8_t* codes, const std::int16_t* query, std::size_t count);
};

// Those for this processor: BLIP2_KERNELS=plain or avx2 in the environment names the highest set to
// take, as for the models' kernels.
const ScanKernels& scan_kernels();

// All sets that this processor can run, the plain one first; for tests.
struct NamedScanKernels {
  const char* name;
  ScanKernels kernels;
};
std::size_t all_scan_kernels(NamedScanKernels (&sets)[3]);

}  // namespace blip2
