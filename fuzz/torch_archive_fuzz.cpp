#include "blip2/io/torch_archive_internal.h"
#include "fuzz/read_all.h"

// Any bytes as a file of this format: read or refused with Error, nothing else.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return blip2::read_all<blip2::TorchArchive>(data, size);
}
