#include <dlfcn.h>
#include <fmt/format.h>

#include "blip2/base/error.h"
#include "blip2/image/codec_library_internal.h"

namespace blip2 {

CodecLibrary::CodecLibrary(const char* soname, const char* format)
    : soname_(soname), handle_(dlopen(soname, RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ != nullptr) return;
  const char* reason = dlerror();
  throw Error(fmt::format("{} pictures need a library that cannot be loaded: {}", format,
                          reason == nullptr ? soname : reason),
              "", fmt::format("install {}, or convert the pictures to PNG", soname));
}

CodecLibrary::Function CodecLibrary::find(const char* name) const {
  void* address = dlsym(handle_, name);
  if (address == nullptr) {
    throw Error(fmt::format("{} has no function {}", soname_, name), "",
                "install the version that blip2 was built with");
  }
  return Function(address);
}

}  // namespace blip2
