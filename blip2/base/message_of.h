#pragma once

#include <functional>
#include <string>

#include "blip2/base/error.h"

namespace blip2 {

// For tests: the what() of the Error that the action throws, "no error" if it throws none.
inline std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace blip2
