#pragma once

#include <string>

namespace blip2 {

// A shared library that is loaded when the first picture needs it: those of AVIF and HEIC bring
// forty others, which every start of the program would pay for. It stays loaded.
class CodecLibrary {
 public:
  // Throws Error that names `format` if the library is not there.
  CodecLibrary(const char* soname, const char* format);

  // The library's function of that name, as whichever type of pointer it is assigned to.
  class Function {
   public:
    explicit Function(void* address) : address_(address) {}
    template <typename Type>
    operator Type*() const {  // as dlsym is meant to be used
      return reinterpret_cast<Type*>(address_);
    }

   private:
    void* address_;
  };
  Function find(const char* name) const;

 private:
  std::string soname_;
  void* handle_ = nullptr;
};

}  // namespace blip2
