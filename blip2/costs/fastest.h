#pragma once

#include <algorithm>
#include <limits>

#include "blip2/base/scoped_timer.h"

namespace blip2 {

// Seconds of the fastest of `times` runs: what other programs do only makes a run slower.
template <typename Work>
double fastest(int times, const Work& work) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < times; ++i) {
    double seconds = 0;
    {
      const ScopedTimer timer(seconds);
      work();
    }
    best = std::min(best, seconds);
  }
  return best;
}

}  // namespace blip2
