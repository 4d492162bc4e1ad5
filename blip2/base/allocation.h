#pragma once

namespace blip2 {

// How the program's memory goes back to the system. With another allocator than glibc's both
// functions do nothing.

// Gives freed memory back to the system that the allocator still holds, gaps between blocks in use
// included.
void give_back_memory();

// From now on blocks of 64 KiB and more go back to the system as soon as they are freed, so that
// they leave no gaps. Fresh pages cost time.
void give_back_blocks();

}  // namespace blip2
