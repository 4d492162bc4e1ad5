#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace blip2 {

// A whole file mapped read-only into memory for as long as the object lives. Const functions may
// run on several threads at once.
class MappedFile {
 public:
  // Throws Error if the file is missing, not a regular file, or cannot be mapped.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Takes the pages of `bytes` out of this process's memory; they stay in the system's cache and
  // come back when read. Bytes outside this file are left alone.
  void release(std::span<const std::byte> bytes) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  MappedFile(std::filesystem::path path, const std::byte* data, std::size_t size);
  std::filesystem::path path_;
  const std::byte* data_;
  std::size_t size_;
};

// The file's content. Error if the file is missing or holds more than `max_bytes`.
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes = 64u << 20);

// A file that appears under its name complete or not at all: written under a temporary name beside
// it, synced and renamed by commit(). Destroyed without commit, it leaves nothing behind.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Throws Error naming the file and the bytes written so far (disk full, I/O error).
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void commit();

 private:
  [[noreturn]] void fail(const char* doing, int error_number) const;
  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
  std::uint64_t written_ = 0;
};

// Writes `text` to `path` atomically.
void write_file(const std::filesystem::path& path, std::string_view text);

// Makes `to` a copy of `from`, atomically: a new file in place of what is there.
void write_copy(const std::filesystem::path& from, const std::filesystem::path& to);

// Whether a name is one under which AtomicFile writes: a file left by a program that was killed.
bool is_temporary(const std::filesystem::path& path);

// For files that long work will write: Error if `path` is empty or a folder, or if its own folder
// is not there or takes no files.
void require_place(const std::filesystem::path& path);

}  // namespace blip2
