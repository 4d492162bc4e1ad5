#include "blip2/search/scan_kernels_internal.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "blip2/base/processor.h"
#include "blip2/search/code_layout_internal.h"

namespace blip2 {
namespace {

// Each loop is plain C++, which the compiler makes into instructions of the set of the function
// that it is inlined into.
#define BLIP2_INLINE __attribute__((always_inline)) inline

// Eight lanes at a time, so that their sums stay in registers.
BLIP2_INLINE void bounds_of_lanes(const std::byte* head, const float* query, const float* reach,
                                  std::size_t lanes, std::size_t first, float* sums) {
  constexpr std::size_t kAtOnce = 8;
  float sum[kAtOnce];
  const auto* numbers = reinterpret_cast<const std::int8_t*>(head) + first;
  for (std::size_t l = 0; l < kAtOnce; ++l) {
    std::uint16_t length;
    std::memcpy(&length, head + lanes * CodeLayout::kHeadNumbers + 2 * (first + l), 2);
    sum[l] = reach[first + l] * static_cast<float>(length);
  }
  for (std::size_t d = 0; d < CodeLayout::kHeadNumbers; ++d) {
    for (std::size_t l = 0; l < kAtOnce; ++l) {
      sum[l] += query[d * lanes + first + l] * static_cast<float>(numbers[d * lanes + l]);
    }
  }
  std::memcpy(sums + first, sum, sizeof sum);
}

BLIP2_INLINE void bounds(const std::byte* head, const float* query, const float* reach,
                         std::size_t lanes, float* sums) {
  for (std::size_t first = 0; first < lanes; first += 8) {
    bounds_of_lanes(head, query, reach, lanes, first, sums);
  }
}

BLIP2_INLINE std::int32_t sum_of_products(const std::int8_t* codes, const std::int16_t* query,
                                          std::size_t count) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    sum += std::int32_t{static_cast<std::int16_t>(codes[i])} * std::int32_t{query[i]};
  }
  return sum;
}

void bounds_plain(const std::byte* head, const float* query, const float* reach, std::size_t lanes,
                  float* sums) {
  bounds(head, query, reach, lanes, sums);
}
std::int32_t products_plain(const std::int8_t* codes, const std::int16_t* query,
                            std::size_t count) {
  return sum_of_products(codes, query, count);
}

#if defined(__x86_64__)
#define BLIP2_AVX2 __attribute__((target("avx2,fma")))
#define BLIP2_AVX512 \
  __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))

BLIP2_AVX2 void bounds_avx2(const std::byte* head, const float* query, const float* reach,
                            std::size_t lanes, float* sums) {
  bounds(head, query, reach, lanes, sums);
}
BLIP2_AVX2 std::int32_t products_avx2(const std::int8_t* codes, const std::int16_t* query,
                                      std::size_t count) {
  return sum_of_products(codes, query, count);
}
BLIP2_AVX512 void bounds_avx512(const std::byte* head, const float* query, const float* reach,
                                std::size_t lanes, float* sums) {
  bounds(head, query, reach, lanes, sums);
}
BLIP2_AVX512 std::int32_t products_avx512(const std::int8_t* codes, const std::int16_t* query,
                                          std::size_t count) {
  return sum_of_products(codes, query, count);
}
#endif

// The highest set that BLIP2_KERNELS allows: 0 plain, 1 AVX2, 2 AVX-512.
int allowed() {
  const char* value = std::getenv("BLIP2_KERNELS");
  const std::string_view name = value == nullptr ? "" : value;
  return name == "plain" ? 0 : name == "avx2" ? 1 : 2;
}

}  // namespace

std::size_t all_scan_kernels(NamedScanKernels (&sets)[3]) {
  std::size_t count = 0;
  sets[count++] = {"plain", {bounds_plain, products_plain}};
#if defined(__x86_64__)
  if (processor().avx2) sets[count++] = {"avx2", {bounds_avx2, products_avx2}};
  if (processor().avx512) sets[count++] = {"avx512", {bounds_avx512, products_avx512}};
#endif
  return count;
}

const ScanKernels& scan_kernels() {
  static const ScanKernels chosen = [] {
    NamedScanKernels sets[3];
    const std::size_t count = all_scan_kernels(sets);
    return sets[std::min<std::size_t>(count - 1, static_cast<std::size_t>(allowed()))].kernels;
  }();
  return chosen;
}

}  // namespace blip2
