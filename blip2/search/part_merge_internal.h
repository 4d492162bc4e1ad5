#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "blip2/search/generation_internal.h"

namespace blip2 {

// Rows of a file of vectors, and how many of them are pictures of the generation.
struct PartSize {
  std::size_t rows = 0, alive = 0;
};
// Neighbours [begin, end) of the list of parts.
struct PartRange {
  std::size_t begin = 0, end = 0;

  bool operator==(const PartRange&) const = default;
};

// What shall become one part each, in rising order. If there are more than eight parts, the last
// ones are merged with those before them that are not much larger, so that a small change never
// copies much, and a row is copied a number of times that grows with the logarithm of the index. A
// part with more than a quarter of dead rows is written again. Every part has at least one row that
// is alive.
std::vector<PartRange> plan_merges(std::span<const PartSize> parts);

// Whether the basis was fitted on few pictures, of which there are many more now, and these merges
// write most of them again anyway.
bool should_fit_again(const Generation& generation, std::span<const PartRange> merges);

// Copies the rows of generation.parts[range] that are alive into the file `number`. Error if the
// checksum of a source is wrong.
IndexPart merge_parts(const std::filesystem::path& folder, const Generation& generation,
                      PartRange range, std::int64_t number);

// Fits a new basis on what the vectors of all parts say and encodes them by it: a generation with
// this basis and one part, the file `number`. The errors of both encodings add up.
void encode_again(const std::filesystem::path& folder, Generation& generation, std::int64_t number);

// Encodes vectors [n, Q, E] on several threads: heads [n, head] and bodies [n, body].
struct EncodedPictures {
  std::vector<std::byte> heads, bodies;
  float largest_error = 0;
};
EncodedPictures encode_pictures(const Basis& basis, std::span<const float> vectors);

// How many bytes of vectors in floats are in memory at a time, for fitting and for waiting.
inline constexpr std::size_t kVectorBudget = std::size_t{256} << 20;

}  // namespace blip2
