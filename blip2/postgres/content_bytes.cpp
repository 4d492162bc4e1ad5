#include "blip2/postgres/content_bytes_internal.h"

#include <cstddef>
#include <cstdint>

#include "blip2/base/error.h"

namespace blip2 {

std::string content_bytes(const ContentHash& content) {
  std::string bytes;
  for (const std::uint64_t half : {content.low, content.high})
    for (int shift = 56; shift >= 0; shift -= 8)
      bytes.push_back(static_cast<char>(half >> shift & 0xff));
  return bytes;
}

ContentHash content_of(std::string_view bytes) {
  need(bytes.size() == 16, "the hash of a picture has not 16 bytes", "Postgres");
  std::uint64_t halves[2] = {};
  for (std::size_t i = 0; i < 16; ++i)
    halves[i / 8] = halves[i / 8] << 8 | static_cast<unsigned char>(bytes[i]);
  return {halves[0], halves[1]};
}

}  // namespace blip2
