#include <cstring>

#include "blip2/base/error.h"
#include "blip2/base/hash.h"
#include "blip2/search/vector_file_internal.h"
#include "fuzz/memory_file.h"

namespace {

// With a right checksum, so that the fuzzer gets behind it.
std::vector<std::uint8_t> sealed(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint8_t> bytes(data, data + size);
  constexpr std::size_t kSum = blip2::kVectorHeaderBytes - sizeof(std::uint64_t);
  if (size < blip2::kVectorHeaderBytes) return bytes;
  const auto sum = blip2::hash_bytes(std::as_bytes(std::span(bytes).first(kSum)));
  std::memcpy(bytes.data() + kSum, &sum, sizeof sum);
  return bytes;
}

void read_vectors(const std::vector<std::uint8_t>& bytes) {
  const blip2::MemoryFile memory(bytes.data(), bytes.size());
  const blip2::VectorFile file(memory.path());
  std::uint64_t sum = file.sum_of_numbers();
  for (std::size_t row = 0; row < file.rows(); ++row) {
    sum += blip2::hash_bytes(file.body(row)) + blip2::hash_bytes(file.head(row));
    file.row_of(file.numbers()[row]);
  }
  if (file.rows() > bytes.size()) __builtin_trap();
  [[maybe_unused]] volatile std::uint64_t used = sum;
}

void read_basis(std::span<const std::byte> bytes) {
  const blip2::VectorShape shape{2, 3};
  const auto basis = blip2::Basis::from_bytes(shape, bytes);
  if (basis.bytes().size() != bytes.size()) __builtin_trap();
  basis.rotate_back(basis.rotate(std::vector<float>{1, 0, 0}));
}

}  // namespace

// Any bytes as a file of vectors, as they are and with a right checksum, and as a basis: read or
// refused with Error, nothing else.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const auto& bytes : {std::vector<std::uint8_t>(data, data + size), sealed(data, size)}) {
    try {
      read_vectors(bytes);
    } catch (const blip2::Error&) {
    }
  }
  try {
    read_basis(std::as_bytes(std::span(data, size)));
  } catch (const blip2::Error&) {
  }
  return 0;
}
