#pragma once

namespace blip2 {

// Between which values a figure lies in 95 of 100 draws of the records; nothing is known at first.
struct Interval {
  double low = 0, high = 1;
};

}  // namespace blip2
