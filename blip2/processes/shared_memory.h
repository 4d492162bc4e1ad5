#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "blip2/processes/ranks.h"

namespace blip2 {

// Memory that processes of one machine have in common: a part for each, which all can read. It has
// no name in the file system once all have it, so nothing is left of a run however it ends.
class SharedMemory {
 public:
  // `count` f32 numbers for each process; collective. Nothing if they are not all on one machine
  // (one host, one network namespace) or it has no room for so much.
  static std::unique_ptr<SharedMemory> open(const Ranks& ranks, std::int64_t count);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // A process's part, [count]. When another's may be read is for the caller to settle: after a
  // collective call that it makes when it has written.
  at::Tensor part(int rank) const;

 private:
  SharedMemory(void* begin, std::size_t bytes, std::int64_t count);

  void* begin_;
  std::size_t bytes_;
  std::int64_t count_;
};

}  // namespace blip2
