#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

namespace blip2 {

// Writes one line to standard error and clears a progress bar first; standard output is for results
// alone. Several threads may call these functions at once: each line stays whole.
void log_line(const std::string& line);

template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line(fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_line("warning: " + fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace blip2
