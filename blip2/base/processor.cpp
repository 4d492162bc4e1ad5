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

// AMX's tiles are large, so Linux hands them out only to processes that ask for them.
bool ask_for_amx_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned bf16_bit = 1u << 22, tile_bit = 1u << 24;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  if ((d & (bf16_bit | tile_bit)) != (bf16_bit | tile_bit)) return false;
  constexpr long request_permission = 0x1023, tile_data = 18;  // arch_prctl(2)
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
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
  has.amx_bf16 = has.avx512_bf16 && ask_for_amx_bf16();
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
