#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// An entry for a test's EXIF block: a text, or a number where `text` is empty.
struct ExifField {
  std::uint16_t tag = 0;
  std::string_view text = {};
  std::uint32_t number = 0;
};

// A little-endian EXIF block with these entries in its first directory, and `own` in the directory
// of EXIF's own entries.
class ExifBlock {
 public:
  ExifBlock(const std::vector<ExifField>& first, const std::vector<ExifField>& own) {
    bytes_ = std::string("II*\0\x08\0\0\0", 8);
    std::vector<ExifField> all = first;
    const std::uint32_t after = 8 + directory_size(first.size() + 1);
    all.push_back({0x8769, {}, after});
    texts_at_ = after + directory_size(own.size());
    add_directory(all);
    add_directory(own);
    bytes_ += texts_;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  static std::uint32_t directory_size(std::size_t entries) {
    return static_cast<std::uint32_t>(2 + 12 * entries + 4);
  }
  void add(std::uint32_t value, int count) {
    for (int i = 0; i < count; ++i) bytes_ += static_cast<char>(value >> (8 * i));
  }
  void add_directory(const std::vector<ExifField>& fields) {
    constexpr std::uint32_t kText = 2, kLong = 4;
    add(static_cast<std::uint32_t>(fields.size()), 2);
    for (const ExifField& field : fields) {
      const auto size = static_cast<std::uint32_t>(field.text.size());
      add(field.tag, 2);
      add(field.text.empty() ? kLong : kText, 2);
      add(field.text.empty() ? 1 : size, 4);
      if (field.text.empty()) add(field.number, 4);
      if (field.text.empty()) continue;
      if (size > 4) add(texts_at_ + static_cast<std::uint32_t>(texts_.size()), 4);
      if (size > 4) texts_ += field.text;
      if (size <= 4) bytes_ += std::string(field.text) + std::string(4 - size, '\0');
    }
    add(0, 4);
  }

  std::string bytes_, texts_;
  std::uint32_t texts_at_ = 0;
};

}  // namespace blip2
