#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace blip2 {

// A file of any size that is read in small parts. Unlike a mapped file it may shrink meanwhile:
// reading bytes that are gone is an Error, not a signal. For one thread at a time.
class RandomFile {
 public:
  // Throws Error if the file is missing or not a regular file.
  explicit RandomFile(std::filesystem::path path);
  ~RandomFile();
  RandomFile(const RandomFile&) = delete;
  RandomFile& operator=(const RandomFile&) = delete;

  std::uint64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }

  // `count` bytes from `offset`, fewer at the end of the file. They stay valid until the next call.
  // At least `ahead` bytes are read from the file at once, for the calls that follow.
  std::span<const std::byte> peek(std::uint64_t offset, std::size_t count,
                                  std::size_t ahead = 4096);
  // Exactly `count` bytes, which are not kept; Error if the file has fewer.
  std::string read(std::uint64_t offset, std::size_t count) const;

 private:
  std::size_t read_into(std::uint64_t offset, std::span<std::byte> out) const;

  std::filesystem::path path_;
  int descriptor_;
  std::uint64_t size_ = 0;
  std::vector<std::byte> window_;
  std::uint64_t window_at_ = 0;
};

}  // namespace blip2
