#pragma once

#include <ATen/core/ATen_fwd.h>
#include <c10/core/ScalarType.h>

namespace blip2 {

// What this machine can do at most, measured with all threads of tensor operations.
struct MachineSpeed {
  double bytes_per_second = 0;  // read from memory, one after another
  double flops = 0;             // multiplications and additions a second of a product of matrices
};

// The best of several runs over 512 MiB of memory and over products [2048, 2048] of `type`; it
// takes about a second. Not to be called while other work runs.
MachineSpeed measure_machine(c10::ScalarType type);

}  // namespace blip2
