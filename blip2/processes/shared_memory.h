#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "blip2/processes/ranks.h"

namespace blip2 {

// Memory that the processes of one machine share: each process has a part, which all can read. Once
// all processes have mapped it, it has no name in the file system, so nothing is left of a run
// however it ends.
class SharedMemory {
 public:
  // Makes `count` f32 numbers for each process; collective. nullptr if the processes are not all on
  // one machine (one host, one network namespace), or the machine has not enough memory.
  static std::unique_ptr<SharedMemory> open(const Ranks& ranks, std::int64_t count);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // The part of a process, [count]. The caller has to synchronise: the part of another process may
  // be read after a collective call that this process makes once it has written.
  at::Tensor part(int rank) const;

 private:
  SharedMemory(void* begin, std::size_t bytes, std::int64_t count);

  void* begin_;
  std::size_t bytes_;
  std::int64_t count_;
};

}  // namespace blip2
