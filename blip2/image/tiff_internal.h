#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace blip2 {

// TIFF's types that Pillow reads.
enum TiffType : std::uint32_t {
  kTiffByte = 1,
  kTiffAscii,
  kTiffShort,
  kTiffLong,
  kTiffRational,
  kTiffSignedByte,
  kTiffUndefined,
  kTiffSignedShort,
  kTiffSignedLong,
  kTiffSignedRational,
  kTiffFloat,
  kTiffDouble,
  kTiffDirectory,
  kTiffLong8 = 16
};

// Bytes of a value of that type, 0 if it is none of them.
int bytes_of_tiff_type(std::uint32_t type);

// An entry of a directory: where its values lie in the structure, and how many bytes they have.
struct TiffEntry {
  std::uint32_t type = 0;
  std::uint64_t at = 0, size = 0;
};

// A TIFF structure of either byte order, as EXIF is one; reads beyond its end are 0. Const
// functions may run on several threads at once.
class Tiff {
 public:
  // `exif`: with or without the prefix "Exif\0\0".
  explicit Tiff(std::span<const std::byte> exif);

  bool empty() const { return bytes_.empty(); }
  // Whether it begins as a TIFF structure does.
  bool valid() const { return valid_; }
  std::uint64_t size() const { return bytes_.size(); }
  std::uint32_t u16(std::uint64_t o) const { return static_cast<std::uint32_t>(number(o, 2)); }
  std::uint32_t u32(std::uint64_t o) const { return static_cast<std::uint32_t>(number(o, 4)); }
  // `count` bytes as an unsigned number.
  std::uint64_t number(std::uint64_t o, int count) const;
  // The bytes of an entry that find() has given.
  std::span<const std::byte> value(const TiffEntry& entry) const {
    return bytes_.subspan(entry.at, entry.size);
  }

  std::uint64_t first_directory() const { return u32(4); }
  // The first entry of that tag in a directory that Pillow 13 can read, which has a value.
  std::optional<TiffEntry> find(std::uint64_t directory, std::uint32_t tag) const;

 private:
  std::uint32_t at(std::uint64_t o) const {
    return o < bytes_.size() ? static_cast<std::uint32_t>(bytes_[o]) : 0;
  }
  bool holds(std::uint64_t offset, std::uint64_t count) const {
    return offset <= bytes_.size() && count <= bytes_.size() - offset;
  }

  std::span<const std::byte> bytes_;
  bool big_ = false, valid_ = false;
};

}  // namespace blip2
