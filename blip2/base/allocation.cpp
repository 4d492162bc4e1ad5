#include "blip2/base/allocation.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#if defined(__GLIBC__)
#include <link.h>
#include <malloc.h>
#include <unistd.h>
#endif

namespace blip2 {
namespace {

#if defined(__GLIBC__)
// Of a loaded file the parts that nobody can have written to.
int give_back_parts(dl_phdr_info* file, std::size_t /*size*/, void* name) {
  if (std::strstr(file->dlpi_name, static_cast<const char*>(name)) == nullptr) return 0;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (int i = 0; i < file->dlpi_phnum; ++i) {
    const auto& part = file->dlpi_phdr[i];
    if (part.p_type != PT_LOAD || (part.p_flags & PF_W) != 0) continue;
    const std::uintptr_t begin = file->dlpi_addr + part.p_vaddr, start = begin / page * page;
    ::madvise(reinterpret_cast<void*>(start), begin + part.p_filesz - start, MADV_DONTNEED);
  }
  return 0;
}
#endif

}  // namespace

void give_back_library([[maybe_unused]] const char* name) {
#if defined(__GLIBC__)
  ::dl_iterate_phdr(give_back_parts, const_cast<char*>(name));
#endif
}

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
