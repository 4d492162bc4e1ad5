#include "blip2/base/log.h"

#include <unistd.h>

#include <cstdio>

namespace blip2 {

void log_line(const std::string& line) {
  static const bool terminal = ::isatty(STDERR_FILENO) == 1;
  std::fprintf(stderr, "%s%s\n", terminal ? "\r\033[K" : "", line.c_str());
}

}  // namespace blip2
