#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "blip2/base/message_of.h"
#include "blip2/base/random.h"
#include "blip2/search/picture_index.h"

// Small pictures and files for the tests of indexes.
namespace blip2::testing {

inline constexpr VectorShape kShape{2, 64};

inline IndexIdentity test_identity() {
  return {"0123456789abcdef", "/models/small", kShape};
}

inline ContentHash test_content(std::uint64_t seed) {
  return {scatter(seed), scatter(seed + 1)};
}

// Unit vectors [Q, E] that belong to a seed.
inline std::vector<float> test_vectors(std::uint64_t seed, VectorShape shape = kShape) {
  Random random(derive_seed(seed, 77));
  std::vector<float> all;
  for (std::int64_t q = 0; q < shape.queries; ++q) {
    std::vector<float> vector;
    double squares = 0;
    for (std::int64_t i = 0; i < shape.width; ++i) {
      vector.push_back(static_cast<float>(random.uniform(-1, 1)));
      squares += vector.back() * vector.back();
    }
    for (const float number : vector) {
      all.push_back(number / static_cast<float>(std::sqrt(squares)));
    }
  }
  return all;
}

inline PictureFacts test_facts(std::uint64_t seed) {
  PictureFacts facts;
  facts.content = test_content(seed);
  facts.width = 100 + static_cast<std::int64_t>(seed % 50);
  facts.height = 80;
  if (seed % 2 == 0) facts.taken = 1'000'000 + static_cast<std::int64_t>(seed);
  facts.camera = seed % 3 == 0 ? "Canon EOS" : "";
  return facts;
}

// Adds the picture of a seed with a file of this path; its number.
inline std::int64_t put_picture(IndexWriter& writer, std::uint64_t seed, const std::string& path) {
  const std::int64_t number = writer.add_picture(test_facts(seed), test_vectors(seed));
  writer.put_file({path, 1000 + seed, static_cast<std::int64_t>(seed) * 1'000'000'000, number, ""});
  return number;
}

// The largest length of (a - b) over the vectors [Q, E].
inline float largest_distance(const std::vector<float>& a, const std::vector<float>& b,
                              VectorShape shape = kShape) {
  double largest = 0;
  for (std::int64_t q = 0; q < shape.queries; ++q) {
    double squares = 0;
    for (std::int64_t i = q * shape.width; i < (q + 1) * shape.width; ++i) {
      squares += (a[i] - b[i]) * (a[i] - b[i]);
    }
    largest = std::max(largest, std::sqrt(squares));
  }
  return static_cast<float>(largest);
}

// What opening says, "no error" if nothing.
inline std::string open_message(const std::filesystem::path& folder) {
  return message_of([&] { PictureIndex::open(folder); });
}
inline std::string write_message(const std::filesystem::path& folder,
                                 const IndexIdentity& identity = test_identity()) {
  return message_of([&] { IndexWriter writer(folder, identity); });
}

inline std::size_t vector_files(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(std::ranges::count_if(
      std::filesystem::directory_iterator(folder),
      [](const auto& entry) { return entry.path().extension() == ".vectors"; }));
}

// Numbers of the pictures that `wanted` has, in the order of the parts.
inline std::vector<std::int64_t> numbers_in(const PictureIndex& index, const WantedBits& wanted) {
  std::vector<std::int64_t> numbers;
  for (std::size_t part = 0; part < wanted.size(); ++part) {
    for (std::size_t row = 0; row < wanted[part].size() * 64; ++row) {
      if (wanted[part][row / 64] >> (row % 64) & 1) numbers.push_back(index.picture_at(part, row));
    }
  }
  return numbers;
}

// Whether the picture has the seed's vectors, as far as the index promises.
inline bool has_vectors(const PictureIndex& index, std::int64_t picture, std::uint64_t seed) {
  return largest_distance(index.vectors_of(picture), test_vectors(seed)) <=
         index.largest_error() + 1e-5f;
}

}  // namespace blip2::testing
