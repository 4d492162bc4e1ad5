#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/base/file.h"
#include "blip2/search/codes.h"

namespace blip2 {

// A file of vectors: a header of 64 bytes, the numbers of the pictures [n] as 64-bit integers in
// rising order, their bodies [n, body] and their heads [n, head]; every section begins at a
// multiple of 64 bytes, and the file ends with the last head. All numbers are little-endian.
struct VectorFileHeader {
  VectorShape shape;
  std::uint64_t rows = 0;
  CodeSizes codes;  // bytes of a head and of a body
};

// Where the sections begin, and the size of the file.
struct VectorFileLayout {
  std::uint64_t numbers = 0, bodies = 0, heads = 0, end = 0;
};
VectorFileLayout layout_of(const VectorFileHeader& header);

inline constexpr std::size_t kVectorHeaderBytes = 64;
std::string write_header(const VectorFileHeader& header);
// The header of a file's bytes. Error if it is of another format or version or damaged, or if the
// file is shorter or longer than the header says. `where` is the file's name for messages.
VectorFileHeader read_header(std::span<const std::byte> bytes, const std::string& where);

// Checksums of the sections, each over its rows one after another.
struct VectorSums {
  std::uint64_t numbers = 0, bodies = 0, heads = 0;

  bool operator==(const VectorSums&) const = default;
};

// The name of a file of vectors in the index's folder, and back: nullopt for other names.
std::string vector_file_name(std::int64_t number);
std::optional<std::int64_t> vector_file_number(const std::string& name);

// A file of vectors, mapped. Const functions may run on several threads at once.
class VectorFile {
 public:
  explicit VectorFile(const std::filesystem::path& path);

  const VectorFileHeader& header() const { return header_; }
  std::size_t rows() const { return header_.rows; }
  std::span<const std::int64_t> numbers() const { return numbers_; }
  std::span<const std::byte> bodies() const { return bodies_; }
  std::span<const std::byte> heads() const { return heads_; }
  std::span<const std::byte> body(std::size_t row) const;
  std::span<const std::byte> head(std::size_t row) const;
  std::optional<std::size_t> row_of(std::int64_t number) const;
  std::uint64_t sum_of_numbers() const;
  // Takes the pages of `bytes` out of this process's memory.
  void release(std::span<const std::byte> bytes) const { mapped_->release(bytes); }
  const std::filesystem::path& path() const { return mapped_->path(); }

 private:
  std::shared_ptr<const MappedFile> mapped_;
  VectorFileHeader header_;
  std::span<const std::int64_t> numbers_;
  std::span<const std::byte> bodies_, heads_;
};

// Writes a file of vectors: all bodies, then all heads, then commit(). Without it nothing is left.
class VectorFileWriter {
 public:
  // `numbers` in rising order.
  VectorFileWriter(const std::filesystem::path& path, VectorShape shape,
                   std::span<const std::int64_t> numbers);

  // Of one or several rows.
  void add_bodies(std::span<const std::byte> bodies);
  void add_heads(std::span<const std::byte> heads);
  VectorSums commit();  // makes the file durable

 private:
  void append(std::span<const std::byte> bytes);
  void flush();
  void fill_to(std::uint64_t offset);

  AtomicFile file_;
  VectorFileHeader header_;
  VectorFileLayout layout_;
  VectorSums sums_;
  std::vector<std::byte> waiting_;  // not yet given to the file
  std::uint64_t at_ = 0;            // bytes so far
};

}  // namespace blip2
