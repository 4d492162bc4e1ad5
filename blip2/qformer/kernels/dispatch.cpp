#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "blip2/base/random.h"
#include "blip2/qformer/kernels/kernels.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,prefer-vector-width=512")
#define BLIP2_VECTOR_BYTES 64
namespace blip2::kernels::avx512 {
#include "blip2/qformer/kernels/body.inc"
}
#undef BLIP2_VECTOR_BYTES
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define BLIP2_VECTOR_BYTES 32
namespace blip2::kernels::avx2 {
#include "blip2/qformer/kernels/body.inc"
}
#undef BLIP2_VECTOR_BYTES
#pragma GCC pop_options

#define BLIP2_VECTOR_BYTES 16
namespace blip2::kernels::plain {
#include "blip2/qformer/kernels/body.inc"
}
#undef BLIP2_VECTOR_BYTES

namespace blip2::kernels {
namespace {

enum class Simd { plain, avx2, avx512 };

Simd choose() {
  __builtin_cpu_init();
  Simd best = Simd::plain;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = Simd::avx2;
  if (best == Simd::avx2 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    best = Simd::avx512;
  }
  const char* wish = std::getenv("BLIP2_SIMD");
  if (wish && std::string_view(wish) == "plain") return Simd::plain;
  if (wish && std::string_view(wish) == "avx2") return std::min(best, Simd::avx2);
  return best;
}

Simd chosen() {
  static const Simd simd = choose();
  return simd;
}

}  // namespace

const char* instruction_set() {
  constexpr const char* names[] = {"plain", "avx2", "avx512"};
  return names[static_cast<int>(chosen())];
}

template <typename T>
const Table<T>& table() {
  static const Table<T> tables[] = {plain::make_table<T>(), avx2::make_table<T>(),
                                    avx512::make_table<T>()};
  return tables[static_cast<int>(chosen())];
}

template const Table<float>& table<float>();
template const Table<bf16>& table<bf16>();

}  // namespace blip2::kernels
