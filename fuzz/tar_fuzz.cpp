#include <cstdint>
#include <string>

#include "blip2/base/error.h"
#include "blip2/io/tar_place.h"
#include "blip2/io/tar_samples.h"
#include "fuzz/memory_file.h"

// Any bytes as a tar shard: every sample is whole and can be read, or has a fault; a place's text
// is read back as it was.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const blip2::MemoryFile memory(data, size);
  try {
    blip2::TarSampleReader reader(memory.path());
    while (const auto sample = reader.next()) {
      if (!sample->fault.empty()) continue;
      const blip2::TarEntry& picture = *sample->picture;
      if (reader.read(picture).size() != picture.size) __builtin_trap();
      const blip2::TarPlace place{memory.path(), picture.name, picture.offset, picture.size};
      const auto parsed = blip2::TarPlace::parse(place.to_text());
      if (!parsed || parsed->to_text() != place.to_text()) __builtin_trap();
    }
  } catch (const blip2::Error&) {
  }
  return 0;
}
