#pragma once

#include <torch/torch.h>

#include <cstddef>

#include "blip2/base/parallel.h"

namespace blip2 {

// Calls work(i) for i in [0, count), several at a time, each on one thread and without autograd.
// The rounding of a product over a batch depends on the batch's size and the number of threads; an
// item that is computed here has the same bits whatever items stand beside it.
template <typename Work>
void batch_invariant_for(std::size_t count, const Work& work) {
  const auto threads = at::get_num_threads();
  try {
    parallel_for(count, static_cast<std::size_t>(threads), [&](std::size_t i) {
      at::set_num_threads(1);
      const at::NoGradGuard no_grad;
      work(i);
    });
  } catch (...) {
    at::set_num_threads(threads);
    throw;
  }
  at::set_num_threads(threads);
}

}  // namespace blip2
