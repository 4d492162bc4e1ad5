#pragma once

namespace blip2 {

// How the program's memory goes back to the system. Nothing but glibc's allocator does either.

// Gives back what has been freed but not yet, gaps between blocks in use included.
void give_back_memory();

// From now on blocks of 64 KiB and more go back as soon as they are freed, so that they leave no
// gaps; fresh pages cost time.
void give_back_blocks();

}  // namespace blip2
