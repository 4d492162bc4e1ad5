#include "blip2/nn/kernels/kernels.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "blip2/nn/kernels/tables.h"

namespace blip2 {
namespace {

enum class Level { plain, avx2, avx512, amx };

Level machine_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bf16");
  if (avx2 && avx512) return has_amx() ? Level::amx : Level::avx512;
  if (avx2) return Level::avx2;
#endif
  return Level::plain;
}

Level chosen_level() {
  static const Level level = [] {
    const char* wish = std::getenv("BLIP2_KERNELS");
    const std::string_view name = wish ? wish : "";
    const Level most = machine_level();
    if (name == "plain") return Level::plain;
    if (name == "avx2") return std::min(most, Level::avx2);
    return name == "avx512" ? std::min(most, Level::avx512) : most;
  }();
  return level;
}

}  // namespace

template <>
const Kernels<float>& kernels<float>() {
#if defined(__x86_64__)
  if (chosen_level() >= Level::avx512) return avx512_f32();
  if (chosen_level() == Level::avx2) return avx2_f32();
#endif
  return plain_f32();
}

template <>
const Kernels<Bf16>& kernels<Bf16>() {
#if defined(__x86_64__)
  if (chosen_level() == Level::amx) return amx_bf16();
  if (chosen_level() == Level::avx512) return avx512_bf16();
  if (chosen_level() == Level::avx2) return avx2_bf16();
#endif
  return plain_bf16();
}

template <>
const Kernels<F16>& kernels<F16>() {
#if defined(__x86_64__)
  if (chosen_level() >= Level::avx512) return avx512_f16();
  if (chosen_level() == Level::avx2) return avx2_f16();
#endif
  return plain_f16();
}

const char* kernels_name() {
  constexpr const char* names[] = {"plain", "avx2", "avx512-bf16", "amx-bf16"};
  return names[static_cast<int>(chosen_level())];
}

std::int64_t attention_scratch(const AttentionShape& shape) {
  const auto padded = [](std::int64_t count) { return (count + 15) / 16 * 16; };
  const std::int64_t keys = padded(shape.start + shape.queries), dim = padded(shape.head_dim);
  return 6 * keys * dim + 3 * dim + 2 * keys;
}

}  // namespace blip2
