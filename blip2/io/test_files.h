#pragma once

#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// Builders of small files, right and wrong, for this folder's tests.
namespace blip2::testing {

// A temporary folder, which the destructor removes with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "blip2_io_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  std::filesystem::path write(std::string_view name, std::string_view bytes) const {
    std::filesystem::remove(path_ / name);  // overwriting would wait for the disk
    std::ofstream(path_ / name, std::ios::binary).write(bytes.data(), std::ssize(bytes));
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

template <typename T>
std::string le(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}
inline std::string u16(std::uint16_t value) {
  return le(value);
}
inline std::string u32(std::uint32_t value) {
  return le(value);
}
inline std::string u64(std::uint64_t value) {
  return le(value);
}
inline std::string floats(const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) bytes += le(value);
  return bytes;
}

inline std::string safetensors(std::string_view header, std::string_view data = {}) {
  return u64(header.size()) + std::string(header) + std::string(data);
}

// GGUF: pairs and infos are appended as bytes; the counts are how many were added.
struct Gguf {
  std::string pairs, infos, data;
  std::uint64_t pair_count = 0, info_count = 0;
  std::uint32_t version = 3;

  static std::string string(std::string_view text) { return u64(text.size()) + std::string(text); }
  Gguf& pair(std::string_view key, std::uint32_t type, std::string_view value) {
    pairs += string(key) + u32(type) + std::string(value);
    ++pair_count;
    return *this;
  }
  Gguf& tensor(std::string_view name, const std::vector<std::uint64_t>& sizes, std::uint32_t type,
               std::uint64_t offset) {
    infos += string(name) + u32(static_cast<std::uint32_t>(sizes.size()));
    for (const std::uint64_t size : sizes) infos += u64(size);
    infos += u32(type) + u64(offset);
    ++info_count;
    return *this;
  }
  std::string bytes() const {
    std::string out = "GGUF" + u32(version) + u64(info_count) + u64(pair_count) + pairs + infos;
    if (!data.empty()) out.resize((out.size() + 31) / 32 * 32);
    return out + data;
  }
};

// A zip archive of stored entries as torch.save writes it.
struct Zip {
  std::string bytes, directory;
  std::uint16_t count = 0;

  Zip& add(std::string_view name, std::string_view data, std::uint16_t method = 0,
           std::uint16_t flags = 0) {
    const auto crc = static_cast<std::uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size())));
    const auto size = static_cast<std::uint32_t>(data.size());
    const std::string common = u16(flags) + u16(method) + u32(0) + u32(crc) + u32(size) +
                               u32(size) + u16(static_cast<std::uint16_t>(name.size())) + u16(0);
    directory += u32(0x02014b50) + u16(0) + u16(0) + common + u16(0) + u64(0) +
                 u32(static_cast<std::uint32_t>(bytes.size())) + std::string(name);
    bytes += u32(0x04034b50) + u16(0) + common + std::string(name) + std::string(data);
    ++count;
    return *this;
  }
  std::string finish(std::uint64_t claimed_entries = ~0u,
                     std::uint64_t claimed_offset = ~0ull) const {
    const auto entries =
        static_cast<std::uint16_t>(claimed_entries == ~0u ? count : claimed_entries);
    const auto offset =
        static_cast<std::uint32_t>(claimed_offset == ~0ull ? bytes.size() : claimed_offset);
    return bytes + directory + u32(0x06054b50) + u32(0) + u16(entries) + u16(entries) +
           u32(static_cast<std::uint32_t>(directory.size())) + u32(offset) + u16(0);
  }
};

// Pickle opcodes.
inline std::string text(std::string_view value) {
  return "X" + u32(static_cast<std::uint32_t>(value.size())) + std::string(value);
}
inline std::string integer(std::int64_t value) {
  return "\x8a\x08" + le(value);
}
inline std::string global(std::string_view module, std::string_view name) {
  return "c" + std::string(module) + "\n" + std::string(name) + "\n";
}
inline std::string tuple(const std::vector<std::int64_t>& values) {
  std::string out = "(";
  for (const std::int64_t value : values) out += integer(value);
  return out + "t";
}
inline std::string storage(std::string_view type, std::string_view key, std::int64_t numel) {
  return "(" + text("storage") + global("torch", type) + text(key) + text("cpu") + integer(numel) +
         "tQ";
}
// A call of _rebuild_tensor_v2 on a float storage "0".
inline std::string tensor(std::int64_t numel, std::int64_t offset,
                          const std::vector<std::int64_t>& shape,
                          const std::vector<std::int64_t>& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + storage("FloatStorage", "0", numel) +
         integer(offset) + tuple(shape) + tuple(strides) + "\x89" + "}" + "tR";
}
inline std::string pickle(std::string_view body) {
  return "\x80\x02" + std::string(body) + ".";
}
// {"w": value}
inline std::string dict_of(std::string_view value) {
  return pickle("}" + text("w") + std::string(value) + "s");
}
inline std::string archive(std::string_view pickle, std::string_view data) {
  return Zip().add("a/data.pkl", pickle).add("a/data/0", data).finish();
}
inline std::string legacy(std::string_view pickle, std::string_view data, std::int64_t numel) {
  const std::string magic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e", 15);
  const std::string machine = "\x80\x02}" + text("little_endian") + "\x88s.";
  return magic + "\x80\x02M\xe9\x03." + machine + std::string(pickle) + "\x80\x02]" + text("0") +
         "a." + le(numel) + std::string(data);
}

}  // namespace blip2::testing
