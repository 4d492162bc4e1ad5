#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "blip2/base/error.h"

namespace blip2 {

// A cursor over little-endian bytes that never reads beyond them. Each read names what it reads
// (`what`), for the Error with file, offset, expected and got.
class ByteReader {
 public:
  // `base`: where the bytes begin in the file; it is added to offsets in messages.
  ByteReader(std::span<const std::byte> bytes, std::string where, std::uint64_t base = 0)
      : bytes_(bytes), where_(std::move(where)), base_(base) {}

  std::uint64_t offset() const { return base_ + at_; }  // in the file
  std::uint64_t position() const { return at_; }        // in the bytes
  std::uint64_t remaining() const { return bytes_.size() - at_; }
  const std::string& where() const { return where_; }

  std::span<const std::byte> take(std::uint64_t count, std::string_view what) {
    if (count > remaining()) {
      fail(fmt::format("expected {} bytes for {}, got {}", count, what, remaining()));
    }
    const auto taken = bytes_.subspan(at_, count);
    at_ += count;
    return taken;
  }

  template <typename T>
  T read(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    return value;
  }

  std::string_view text(std::uint64_t count, std::string_view what) {
    const auto taken = take(count, what);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

  void seek(std::uint64_t position, std::string_view what) {
    if (position > bytes_.size()) {
      fail(fmt::format("{} lies at {}, the data ends at {}", what, base_ + position,
                       base_ + bytes_.size()));
    }
    at_ = position;
  }

  [[noreturn]] void fail(const std::string& message, std::string hint = {}) const {
    throw Error(fmt::format("{} (at byte {})", message, offset()), where_, std::move(hint));
  }

 private:
  std::span<const std::byte> bytes_;
  std::string where_;
  std::uint64_t base_, at_ = 0;
};

}  // namespace blip2
