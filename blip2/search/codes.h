#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace blip2 {

// Numbers of a picture's vectors: Q unit vectors of E numbers, one for each learned query.
struct VectorShape {
  std::int64_t queries = 0, width = 0;  // Q, E

  bool operator==(const VectorShape&) const = default;
};

// How the vectors of an index become bytes: an orthogonal rotation that puts what varies most
// first, and the step of each rotated number. A rotation changes no cosine. Immutable; several
// threads may use it at once.
class Basis {
 public:
  // Fitted on vectors [n, Q, E]: the eigenvectors of their second moments, largest first, and steps
  // by which 127 reaches beyond the largest number seen. With few vectors (fewer than 8 E) the
  // rotation is the identity and the steps are all the same. Of many vectors an evenly spaced
  // sample is taken. Error if they are not finite.
  static Basis fit(VectorShape shape, std::span<const float> vectors);
  // From a file's bytes, as bytes() gives them. Error if they are not a basis of this shape.
  static Basis from_bytes(VectorShape shape, std::span<const std::byte> bytes);
  std::vector<std::byte> bytes() const;

  VectorShape shape() const { return shape_; }
  // Vectors [n, E] rotated, and back.
  std::vector<float> rotate(std::span<const float> vectors) const;
  std::vector<float> rotate_back(std::span<const float> rotated) const;
  std::span<const float> steps() const { return steps_; }  // [E]

 private:
  Basis(VectorShape shape, std::vector<float> rotation, std::vector<float> steps);
  bool turns_back() const;

  VectorShape shape_;
  std::vector<float> rotation_;  // [E, E], a row for each rotated number
  std::vector<float> steps_;     // [E]
};

// Bytes that a picture takes: its head (the first rotated numbers of each vector and the length of
// the rest, for a bound on its score) and its body (all numbers of all vectors, a byte each).
struct CodeSizes {
  std::size_t head = 0, body = 0;
};
CodeSizes code_sizes(VectorShape shape);

// Writes a picture's unit vectors [Q, E] as head and body, of code_sizes() bytes. Returns what no
// score of a unit vector (scan.h) differs by from the cosine with the vector itself: the largest
// length of (vector - what its bytes say) over the Q vectors, and what the scan rounds. Error if
// they are not finite or no unit vectors.
float encode(const Basis& basis, std::span<const float> vectors, std::span<std::byte> head,
             std::span<std::byte> body);
// The vectors [Q, E] that a body says.
std::vector<float> decode(const Basis& basis, std::span<const std::byte> body);

}  // namespace blip2
