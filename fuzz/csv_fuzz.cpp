#include <cstdint>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/io/csv.h"

// Any text as a table: rows come in the order of their lines, and after a fault there is none.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  blip2::CsvRows rows({reinterpret_cast<const char*>(data), size});
  std::size_t line = 0;
  try {
    while (const auto row = rows.next()) {
      if (row->empty() || rows.line() <= line) __builtin_trap();
      line = rows.line();
    }
  } catch (const blip2::Error&) {
    if (rows.next()) __builtin_trap();
  }
  return 0;
}
