#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace blip2 {

// A picture inside a tar shard. Its text form may stand wherever a picture's path may stand:
// "tar:OFFSET+SIZE:/folder/shard.tar//member.jpg". The member's name is a label only.
struct TarPlace {
  std::filesystem::path archive;  // absolute and normal, so that it holds no "//"
  std::string member;
  std::uint64_t offset = 0, size = 0;  // of the body, in bytes

  std::string to_text() const;
  // The place that a text stands for; nullopt if the text is a path or anything else.
  static std::optional<TarPlace> parse(std::string_view text);
};

// The bytes of a file, or of a member of a tar shard if `source` is a TarPlace's text. Throws Error
// if the file or member is missing or has more than `max_bytes`.
std::string read_source(const std::string& source, std::uint64_t max_bytes = 64u << 20);

}  // namespace blip2
