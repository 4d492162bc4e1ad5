#include "blip2/search/scan_kernels_internal.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string_view>

#include "blip2/base/processor.h"
#include "blip2/search/code_layout_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace blip2 {
namespace {

constexpr std::size_t kPairs = CodeLayout::kHeadPairs;

std::size_t head_bytes(const HeadQuery& query) {
  return query.lanes * (CodeLayout::kHeadNumbers + 1);
}

// The middle of a lane's interval and how far it reaches.
struct Lane {
  std::int32_t middle, reach;
};

Lane lane_of(const std::byte* head, const HeadQuery& query, std::size_t lane) {
  const auto* codes = reinterpret_cast<const std::int8_t*>(head);
  Lane out{query.base[lane], 0};
  for (std::size_t pair = 0; pair < kPairs; ++pair) {
    const std::size_t at = (pair * query.lanes + lane) * 2;
    out.middle += codes[at] * query.whole[at] + codes[at + 1] * query.whole[at + 1];
  }
  out.reach =
      std::to_integer<std::int32_t>(head[query.lanes * kPairs * 2 + lane]) * query.reach[lane];
  return out;
}

void intervals_plain(const std::byte* heads, std::size_t count, const HeadQuery& query,
                     ScoreInterval* out) {
  constexpr std::int64_t least = std::numeric_limits<std::int32_t>::min();
  for (std::size_t i = 0; i < count; ++i, heads += head_bytes(query)) {
    ScoreInterval all = query.sums ? ScoreInterval{} : ScoreInterval{least, least};
    for (std::size_t lane = 0; lane < query.lanes; ++lane) {
      const Lane one = lane_of(heads, query, lane);
      const std::int64_t low = one.middle - one.reach, high = one.middle + one.reach;
      all.low = query.sums ? all.low + low : std::max(all.low, low);
      all.high = query.sums ? all.high + high : std::max(all.high, high);
    }
    out[i] = all;
  }
}

void lane_highs_plain(const std::byte* head, const HeadQuery& query, std::int32_t* out) {
  for (std::size_t lane = 0; lane < query.lanes; ++lane) {
    const Lane one = lane_of(head, query, lane);
    out[lane] = one.middle + one.reach;
  }
}

void products_plain(const std::int8_t* codes, std::size_t rows, std::size_t width,
                    const std::int16_t* whole, std::size_t step, std::int32_t* out) {
  for (std::size_t row = 0; row < rows; ++row, codes += width, whole += step) {
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < width; ++i) sum += codes[i] * whole[i];
    out[row] = sum;
  }
}

// Eight sums side by side for each of kRows rows: the same order of additions whatever the
// processor's vectors hold.
constexpr std::size_t kRows = 4;
using Eight = float __attribute__((vector_size(32)));

__attribute__((always_inline)) inline void products_of_rows(const float* rows, const float* vector,
                                                            std::size_t width, float* out) {
  Eight sums[kRows] = {};
  for (std::size_t i = 0; i + 8 <= width; i += 8) {
    Eight some, row;
    std::memcpy(&some, vector + i, sizeof some);
    for (std::size_t r = 0; r < kRows; ++r) {
      std::memcpy(&row, rows + r * width + i, sizeof row);
      sums[r] += row * some;
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    const Eight& s = sums[r];
    out[r] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
    for (std::size_t i = width / 8 * 8; i < width; ++i) out[r] += rows[r * width + i] * vector[i];
  }
}

__attribute__((always_inline)) inline void rotate_all(const float* rows, const float* vectors,
                                                      std::size_t count, std::size_t width,
                                                      float* out) {
  for (std::size_t d = 0; d < width; d += kRows) {
    const std::size_t some = std::min(kRows, width - d);
    for (std::size_t v = 0; v < count; ++v) {
      float products[kRows];
      if (some == kRows) {
        products_of_rows(rows + d * width, vectors + v * width, width, products);
      } else {
        for (std::size_t r = 0; r < some; ++r) {
          products[r] = 0;
          for (std::size_t i = 0; i < width; ++i) {
            products[r] += rows[(d + r) * width + i] * vectors[v * width + i];
          }
        }
      }
      std::copy_n(products, some, out + v * width + d);
    }
  }
}

void rotate_plain(const float* rows, const float* vectors, std::size_t count, std::size_t width,
                  float* out) {
  rotate_all(rows, vectors, count, width, out);
}

#if defined(__x86_64__)
#define BLIP2_AVX2 __attribute__((target("avx2")))

BLIP2_AVX2 __m256i load(const void* at) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}
BLIP2_AVX2 __m128i load_half(const void* at) {
  return _mm_loadu_si128(static_cast<const __m128i*>(at));
}

// Eight lanes from `lane` on.
BLIP2_AVX2 __m256i middles_avx2(const std::byte* head, const HeadQuery& query, std::size_t lane) {
  __m256i sum = load(query.base.data() + lane);
  for (std::size_t pair = 0; pair < kPairs; ++pair) {
    const std::size_t at = (pair * query.lanes + lane) * 2;
    const __m256i codes = _mm256_cvtepi8_epi16(load_half(head + at));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(codes, load(query.whole.data() + at)));
  }
  return sum;
}

BLIP2_AVX2 __m256i reaches_avx2(const std::byte* head, const HeadQuery& query, std::size_t lane) {
  const auto* at = reinterpret_cast<const __m128i*>(head + query.lanes * kPairs * 2 + lane);
  return _mm256_mullo_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64(at)),
                            load(query.reach.data() + lane));
}

BLIP2_AVX2 std::int32_t largest_avx2(__m256i all) {
  __m128i some = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  some = _mm_max_epi32(some, _mm_shuffle_epi32(some, 0x4e));
  some = _mm_max_epi32(some, _mm_shuffle_epi32(some, 0xb1));
  return _mm_cvtsi128_si32(some);
}

BLIP2_AVX2 std::int32_t sum_avx2(__m256i all) {
  __m128i some = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  some = _mm_add_epi32(some, _mm_shuffle_epi32(some, 0x4e));
  some = _mm_add_epi32(some, _mm_shuffle_epi32(some, 0xb1));
  return _mm_cvtsi128_si32(some);
}

BLIP2_AVX2 std::int64_t wide_sum_avx2(__m256i all) {
  const __m256i sum = _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(all)),
                                       _mm256_cvtepi32_epi64(_mm256_extracti128_si256(all, 1)));
  const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  return _mm_cvtsi128_si64(half) + _mm_extract_epi64(half, 1);
}

BLIP2_AVX2 ScoreInterval largest_interval_avx2(const std::byte* head, const HeadQuery& query) {
  __m256i low = _mm256_set1_epi32(std::numeric_limits<std::int32_t>::min()), high = low;
  for (std::size_t lane = 0; lane < query.lanes; lane += 8) {
    const __m256i middle = middles_avx2(head, query, lane), reach = reaches_avx2(head, query, lane);
    low = _mm256_max_epi32(low, _mm256_sub_epi32(middle, reach));
    high = _mm256_max_epi32(high, _mm256_add_epi32(middle, reach));
  }
  return {largest_avx2(low), largest_avx2(high)};
}

BLIP2_AVX2 ScoreInterval interval_of_sum_avx2(const std::byte* head, const HeadQuery& query) {
  std::int64_t middles = 0, reaches = 0;
  for (std::size_t lane = 0; lane < query.lanes; lane += 8) {
    middles += wide_sum_avx2(middles_avx2(head, query, lane));
    reaches += wide_sum_avx2(reaches_avx2(head, query, lane));
  }
  return {middles - reaches, middles + reaches};
}

BLIP2_AVX2 void intervals_avx2(const std::byte* heads, std::size_t count, const HeadQuery& query,
                               ScoreInterval* out) {
  for (std::size_t i = 0; i < count; ++i, heads += head_bytes(query)) {
    out[i] = query.sums ? interval_of_sum_avx2(heads, query) : largest_interval_avx2(heads, query);
  }
}

BLIP2_AVX2 void lane_highs_avx2(const std::byte* head, const HeadQuery& query, std::int32_t* out) {
  for (std::size_t lane = 0; lane < query.lanes; lane += 8) {
    const __m256i middle = middles_avx2(head, query, lane), reach = reaches_avx2(head, query, lane);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + lane), _mm256_add_epi32(middle, reach));
  }
}

BLIP2_AVX2 void products_avx2(const std::int8_t* codes, std::size_t rows, std::size_t width,
                              const std::int16_t* whole, std::size_t step, std::int32_t* out) {
  for (std::size_t row = 0; row < rows; ++row, codes += width, whole += step) {
    __m256i a = _mm256_setzero_si256(), b = a;
    for (std::size_t i = 0; i < width; i += 32) {
      const __m256i first = _mm256_cvtepi8_epi16(load_half(codes + i));
      const __m256i second = _mm256_cvtepi8_epi16(load_half(codes + i + 16));
      a = _mm256_add_epi32(a, _mm256_madd_epi16(first, load(whole + i)));
      b = _mm256_add_epi32(b, _mm256_madd_epi16(second, load(whole + i + 16)));
    }
    out[row] = sum_avx2(_mm256_add_epi32(a, b));
  }
}

BLIP2_AVX2 void rotate_avx2(const float* rows, const float* vectors, std::size_t count,
                            std::size_t width, float* out) {
  rotate_all(rows, vectors, count, width, out);
}
#endif

}  // namespace

std::vector<NamedScanKernels> runnable_scan_kernels() {
  std::vector<NamedScanKernels> sets{
      {"plain", {intervals_plain, lane_highs_plain, products_plain, rotate_plain}}};
#if defined(__x86_64__)
  if (processor().avx2) {
    sets.push_back({"avx2", {intervals_avx2, lane_highs_avx2, products_avx2, rotate_avx2}});
  }
#endif
  return sets;
}

const ScanKernels& scan_kernels() {
  static const ScanKernels chosen = [] {
    const char* most = std::getenv("BLIP2_KERNELS");
    const auto sets = runnable_scan_kernels();
    return (most != nullptr && std::string_view(most) == "plain" ? sets.front() : sets.back())
        .kernels;
  }();
  return chosen;
}

}  // namespace blip2
