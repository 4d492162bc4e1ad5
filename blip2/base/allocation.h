#pragma once

#include <cstddef>
#include <memory>

namespace blip2 {

// How the program's memory goes back to the system. With another allocator than glibc's both
// functions do nothing.

// Gives freed memory back to the system that the allocator still holds, gaps between blocks in use
// included.
void give_back_memory();

// From now on blocks of 64 KiB and more go back to the system as soon as they are freed, so that
// they leave no gaps. Fresh pages cost time.
void give_back_blocks();

// Takes the pages that have been read of the shared libraries whose file names contain `name` (code
// and relocations, not data) out of this process's memory; they stay in the system's cache and come
// back when they are used again. A debugger's breakpoints in these libraries are lost.
void give_back_library(const char* name);

// Memory for large tables that are read at random places: zeros from the system, on huge pages if
// the system gives them, and given back to the system when it is freed.
struct FreePages {
  void* begin;
  std::size_t bytes;
  void operator()(void*) const;
};
using Pages = std::unique_ptr<void, FreePages>;
// Throws std::bad_alloc.
Pages zeroed_pages(std::size_t bytes);

}  // namespace blip2
