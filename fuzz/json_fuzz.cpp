#include <cstdint>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/io/json.h"

// Any text as JSON: what is accepted prints and parses to the same value again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const nlohmann::json value = blip2::parse_json(text, "fuzz");
    if (blip2::parse_json(value.dump(), "printed") != value) __builtin_trap();
  } catch (const blip2::Error&) {
  }
  return 0;
}
