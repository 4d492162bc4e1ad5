#include "blip2/base/allocation.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>
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

void FreePages::operator()(void*) const {
  ::munmap(begin, bytes);
}

Pages zeroed_pages(std::size_t bytes) {
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  const bool huge = bytes >= 2 * kHuge;
  const std::size_t all = bytes + (huge ? kHuge : 0);  // with room to begin at a huge page's start
  if (all < bytes) throw std::bad_alloc();
  void* begin = ::mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (begin == MAP_FAILED) throw std::bad_alloc();
  if (!huge) return {begin, FreePages{begin, all}};
  const auto address = (reinterpret_cast<std::uintptr_t>(begin) + kHuge - 1) / kHuge * kHuge;
  Pages pages(reinterpret_cast<void*>(address), FreePages{begin, all});
#if defined(MADV_HUGEPAGE)
  ::madvise(pages.get(), bytes, MADV_HUGEPAGE);  // failure changes only the speed
#endif
  return pages;
}

}  // namespace blip2
