#pragma once

#include <cstdint>
#include <string>

#include "blip2/io/byte_reader.h"
#include "blip2/io/gguf.h"

namespace blip2 {

// A string as GGUF stores it: its length in 64 bits, then its bytes. `what` names the string in an
// Error.
std::string read_gguf_string(ByteReader& reader, const char* what);

// A metadata value of this type number (gguf_metadata_value_type). Error if there is no such type,
// a length exceeds the bytes that are left, or arrays nest deeper than 8 levels.
GgufValue read_gguf_value(ByteReader& reader, std::uint32_t type);

}  // namespace blip2
