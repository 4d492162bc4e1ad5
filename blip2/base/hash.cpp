#include "blip2/base/hash.h"

#include <fmt/format.h>

namespace blip2 {

std::string hash_text(std::uint64_t hash) {
  return fmt::format("{:016x}", hash);
}

}  // namespace blip2
