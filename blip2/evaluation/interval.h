#pragma once

namespace blip2 {

// The interval in which a figure lies in 95 of 100 draws of the records; the default says nothing.
struct Interval {
  double low = 0, high = 1;
};

}  // namespace blip2
