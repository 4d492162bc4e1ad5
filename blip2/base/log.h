#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

namespace blip2 {

// One line to standard error; results alone go to standard output. Clears a progress bar first.
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
