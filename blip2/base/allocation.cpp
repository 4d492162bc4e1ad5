#include "blip2/base/allocation.h"

#include <cstdlib>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace blip2 {

void give_back_memory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

void give_back_blocks() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 64 << 10);
  mallopt(M_MMAP_MAX, 1 << 15);  // half of what Linux lets a process map
#endif
}

}  // namespace blip2
