#pragma once

#include <cstddef>

namespace blip2 {

// How much one run of a template may do. A template of a published model takes a few thousand steps
// and some hundred kilobytes for a dialogue.
struct TemplateLimits {
  std::size_t source = 256 << 10;  // bytes of the template
  std::size_t steps = 4'000'000;   // evaluated parts and read items
  std::size_t bytes = 256 << 20;   // of all values that it makes or searches, one after the other
  std::size_t output = 32 << 20;   // bytes of the text
  int depth = 400;                 // nested macros, blocks and expressions
};

}  // namespace blip2
