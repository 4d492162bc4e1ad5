#include <cstdint>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/io/json.h"
#include "blip2/io/json_elements.h"

// Any text as a long JSON list: if it is valid JSON, its elements are those of the parsed list.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::size_t found = 0;
  bool whole = true;
  try {
    blip2::JsonElements elements(text, "fuzz");
    while (elements.next()) ++found;
  } catch (const blip2::Error&) {
    whole = false;
  }
  try {
    const nlohmann::json value = blip2::parse_json(text, "fuzz");
    if (value.is_structured() && (!whole || value.size() != found)) __builtin_trap();
  } catch (const blip2::Error&) {
  }
  return 0;
}
