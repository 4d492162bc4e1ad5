#pragma once

namespace blip2 {

// Keeps freed memory for the next allocation instead of giving it back to the system: a training
// step allocates and frees the same large tensors again and again, and fresh pages cost several
// percent of its time. Call once, at the start of training.
void keep_freed_memory();

}  // namespace blip2
