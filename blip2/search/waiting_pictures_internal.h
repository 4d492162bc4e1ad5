#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "blip2/search/generation_internal.h"

namespace blip2 {

// New pictures whose vectors are not in a file yet: as codes if there is a basis, in floats until
// one is fitted on them.
class WaitingPictures {
 public:
  explicit WaitingPictures(VectorShape shape) : shape_(shape) {}

  // `vectors` [Q, E] of the picture `number`, which is larger than those before it.
  void add(std::int64_t number, std::span<const float> vectors, const Basis* basis);
  bool empty() const { return numbers_.empty(); }
  bool are_many() const;  // so that they should go to a file now
  // Writes them into the generation's next file of vectors, of whose basis they are the first if it
  // has none, and forgets them.
  void write(const std::filesystem::path& folder, Generation& generation);

 private:
  void encode_floats(Generation& generation);

  VectorShape shape_;
  std::vector<std::int64_t> numbers_;
  std::vector<float> floats_;
  std::vector<std::byte> heads_, bodies_;
  float largest_error_ = 0;
};

}  // namespace blip2
