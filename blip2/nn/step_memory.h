#pragma once

#include <cstddef>

namespace blip2 {

// While one of these lives, LibTorch's tensors of kLeast bytes and more lie in blocks of memory
// that are kept when a tensor is freed and taken by a later tensor of about its size. A training
// step makes the tensors of the step before it, and would otherwise have the system clear all of
// its pages again. Large blocks are on huge pages if the system gives them.
//
// Blocks in use and kept blocks are together at most an eighth more than the most that has been in
// use at once; those that were freed first go back to the system first. Tensors stay valid after
// the last StepMemory; from then on LibTorch allocates as before and nothing is kept. Any threads
// may make and free tensors; the first StepMemory of a process is made while no others do.
class StepMemory {
 public:
  static constexpr std::size_t kLeast = std::size_t{256} << 10;

  StepMemory();
  ~StepMemory();
  StepMemory(const StepMemory&) = delete;
  StepMemory& operator=(const StepMemory&) = delete;

  static void give_back();    // all kept blocks, to the system
  static std::size_t kept();  // bytes of the kept blocks
  static std::size_t used();  // bytes of the blocks in use
};

}  // namespace blip2
