#include "blip2/base/processor.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace blip2 {
namespace {

#if defined(__x86_64__)
// Clang 14's __builtin_cpu_supports does not know this one.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned f16c_bit = 1u << 29;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & f16c_bit) != 0;
}

constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24, kAmxInt8 = 1u << 25;

// Those of these three that the processor has: none if it has no tiles, or if Linux refuses them.
// They are large, so Linux hands them out only to processes that ask for them.
unsigned ask_for_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kAmxTile) == 0) return 0;
  constexpr long request_permission = 0x1023, tile_data = 18;  // arch_prctl(2)
  if (syscall(SYS_arch_prctl, request_permission, tile_data) != 0) return 0;
  return d & (kAmxBf16 | kAmxTile | kAmxInt8);
}

Processor ask() {
  __builtin_cpu_init();
  Processor has;
  has.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("bmi2") && has_f16c();
  has.avx512 = has.avx2 && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
  has.avx512_vnni = has.avx512 && __builtin_cpu_supports("avx512vnni");
  has.avx512_bf16 = has.avx512 && __builtin_cpu_supports("avx512bf16");
  const unsigned amx = has.avx512 ? ask_for_amx() : 0;
  has.amx_bf16 = has.avx512_bf16 && (amx & kAmxBf16) != 0;
  has.amx_int8 = has.avx512_vnni && (amx & kAmxInt8) != 0;
  return has;
}
#else
Processor ask() {
  return {};
}
#endif

}  // namespace

const Processor& processor() {
  static const Processor has = ask();
  return has;
}

}  // namespace blip2
