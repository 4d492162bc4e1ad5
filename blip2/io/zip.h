#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace blip2 {

// A stored file inside a zip archive.
struct ZipEntry {
  std::span<const std::byte> data;
  std::uint64_t offset = 0;  // of `data` in the archive
  std::uint32_t crc = 0;
};

// The entries of a zip archive of stored (not compressed) files, zip64 included, by name. Each
// entry is in bounds, overlaps no other entry, has the same name in its local header and matches
// its CRC-32 (if it has one). Error for anything else: compressed or encrypted entries, several
// disks, a name twice. Source: PKWARE APPNOTE.TXT 6.3.
std::map<std::string, ZipEntry, std::less<>> read_stored_zip(std::span<const std::byte> bytes,
                                                             const std::string& where);

// One file of a zip archive, stored or deflated, whose CRC-32 is checked. Error if the archive has
// no such file, is malformed, or the file is encrypted or longer than `most` bytes.
std::string read_zip_file(std::span<const std::byte> bytes, std::string_view name,
                          std::uint64_t most, const std::string& where);

}  // namespace blip2
