#include "blip2/io/zip.h"

#include <zlib.h>

#include <algorithm>
#include <new>
#include <optional>
#include <vector>

#include "blip2/io/byte_reader.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50,
                        kEndRecord = 0x06054b50, kEnd64Record = 0x06064b50,
                        kEnd64Locator = 0x07064b50;
constexpr std::uint64_t kEndBytes = 22, kLocatorBytes = 20, kCentralBytes = 46, kMaxComment = 65535;
constexpr std::uint16_t kZip64Extra = 1, kEncrypted = 1;

struct Directory {
  std::uint64_t offset, size, entries;
};

// What the central directory says about one entry.
struct Record {
  std::string_view name;
  std::uint16_t flags, method;
  std::uint32_t crc;
  std::uint64_t compressed, size, header;
};

// The end record is the last thing in the file but for a comment.
std::uint64_t find_end_record(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() >= kEndBytes) {
    const std::uint64_t last = bytes.size() - kEndBytes;
    const std::uint64_t first = last > kMaxComment ? last - kMaxComment : 0;
    for (std::uint64_t at = last + 1; at-- > first;) {
      std::uint32_t signature;
      std::memcpy(&signature, bytes.data() + at, sizeof signature);
      if (signature == kEndRecord) return at;
    }
  }
  throw Error("expected a zip end record in the last 64 KiB, got none", where,
              "the file is truncated or damaged");
}

Directory read_end64(ByteReader reader, std::uint64_t end) {
  reader.seek(end - kLocatorBytes, "the zip64 locator");
  if (reader.read<std::uint32_t>("the zip64 locator") != kEnd64Locator) {
    reader.fail("expected a zip64 locator before the end record");
  }
  reader.read<std::uint32_t>("a disk number");
  reader.seek(reader.read<std::uint64_t>("an offset"), "the zip64 end record");
  if (reader.read<std::uint32_t>("the zip64 end record") != kEnd64Record) {
    reader.fail("expected a zip64 end record");
  }
  reader.take(20, "the zip64 end record");
  Directory directory;
  const auto here = reader.read<std::uint64_t>("the number of entries on this disk");
  directory.entries = reader.read<std::uint64_t>("the number of entries");
  directory.size = reader.read<std::uint64_t>("the directory's size");
  directory.offset = reader.read<std::uint64_t>("the directory's offset");
  if (here != directory.entries) reader.fail("archives of several disks are not supported");
  return directory;
}

Directory read_end(ByteReader reader) {
  const std::uint64_t end = reader.position();
  reader.take(4, "the end record");
  const auto disk = reader.read<std::uint16_t>("the disk number");
  const auto directory_disk = reader.read<std::uint16_t>("the directory's disk number");
  const auto here = reader.read<std::uint16_t>("the number of entries on this disk");
  Directory directory;
  directory.entries = reader.read<std::uint16_t>("the number of entries");
  directory.size = reader.read<std::uint32_t>("the directory's size");
  directory.offset = reader.read<std::uint32_t>("the directory's offset");
  const bool zip64 =
      directory.entries == 0xffff || directory.size == 0xffffffff || directory.offset == 0xffffffff;
  if (zip64 && end >= kLocatorBytes) return read_end64(reader, end);
  if (disk != 0 || directory_disk != 0 || here != directory.entries) {
    reader.fail("archives of several disks are not supported");
  }
  return directory;
}

// Replaces fields whose bits are all ones by the fields of the zip64 extra field.
void read_zip64_extra(Record& record, std::span<const std::byte> extra, const std::string& where) {
  ByteReader reader(extra, where);
  while (reader.remaining() >= 4) {
    const auto id = reader.read<std::uint16_t>("an extra field");
    const auto size = reader.read<std::uint16_t>("an extra field's size");
    ByteReader field(reader.take(size, "an extra field"), where);
    if (id != kZip64Extra) continue;
    for (std::uint64_t* value : {&record.size, &record.compressed, &record.header}) {
      if (*value == 0xffffffff) *value = field.read<std::uint64_t>("a zip64 size");
    }
  }
}

Record read_record(ByteReader& reader) {
  if (reader.read<std::uint32_t>("a zip directory entry") != kCentralHeader) {
    reader.fail("expected a zip directory entry");
  }
  Record record;
  reader.take(4, "versions");
  record.flags = reader.read<std::uint16_t>("flags");
  record.method = reader.read<std::uint16_t>("a method");
  reader.take(4, "a time");
  record.crc = reader.read<std::uint32_t>("a CRC");
  record.compressed = reader.read<std::uint32_t>("a size");
  record.size = reader.read<std::uint32_t>("a size");
  const auto name = reader.read<std::uint16_t>("a name's length");
  const auto extra = reader.read<std::uint16_t>("an extra field's length");
  const auto comment = reader.read<std::uint16_t>("a comment's length");
  reader.take(8, "attributes");
  record.header = reader.read<std::uint32_t>("an offset");
  record.name = reader.text(name, "a name");
  read_zip64_extra(record, reader.take(extra, "an extra field"), reader.where());
  reader.take(comment, "a comment");
  return record;
}

// Follows a record to its local header and data, as they are stored.
ZipEntry read_entry(const Record& record, ByteReader reader) {
  reader.seek(record.header, "the local header");
  if (record.flags & kEncrypted) reader.fail("the entry is encrypted");
  if (reader.read<std::uint32_t>("a local header") != kLocalHeader) {
    reader.fail("expected a local file header");
  }
  reader.take(22, "a local header");
  const auto name = reader.read<std::uint16_t>("a name's length");
  const auto extra = reader.read<std::uint16_t>("an extra field's length");
  if (reader.text(name, "a name") != record.name) {
    reader.fail("the local header names another file");
  }
  reader.take(extra, "an extra field");
  const std::uint64_t offset = reader.offset();
  return {reader.take(record.compressed, "the entry's data"), offset, record.crc};
}

void need_stored(const Record& record, const std::string& where) {
  if (record.method == 0 && record.compressed == record.size) return;
  throw Error(fmt::format("the entry is compressed (method {})", record.method), where,
              "torch.save stores entries uncompressed: save the file again with torch.save");
}

std::string entry_place(const std::string& where, std::string_view name) {
  return fmt::format("{}: zip entry \"{}\"", where, printable(name));
}

// A CRC of 0 says that none was computed (torch.serialization.set_crc32_options(False)).
void check_crc(const ZipEntry& entry, const std::string& where) {
  if (entry.crc == 0) return;
  const uLong got = crc32_z(crc32_z(0, nullptr, 0),
                            reinterpret_cast<const Bytef*>(entry.data.data()), entry.data.size());
  if (got != entry.crc) {
    throw Error(fmt::format("expected CRC-32 {:08x}, got {:08x} over {} bytes at byte {}",
                            entry.crc, got, entry.data.size(), entry.offset),
                where, "the file is damaged");
  }
}

void check_disjoint(std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges,
                    const std::string& where) {
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) {
      throw Error(fmt::format("two zip entries overlap at byte {}", ranges[i].first), where,
                  "the file is damaged");
    }
  }
}

// The records of the central directory, and where it begins.
struct Records {
  std::vector<Record> records;
  std::uint64_t begin;
};

Records read_records(std::span<const std::byte> bytes, const std::string& where) {
  ByteReader reader(bytes, where);
  const std::uint64_t end = find_end_record(bytes, where);
  reader.seek(end, "the end record");
  const Directory directory = read_end(reader);
  if (directory.offset > end || directory.size > end - directory.offset ||
      directory.entries > directory.size / kCentralBytes) {
    reader.fail(fmt::format("a directory of {} entries in {} bytes at {} does not lie in the file",
                            directory.entries, directory.size, directory.offset),
                "the file is truncated or damaged");
  }
  ByteReader table(bytes.subspan(directory.offset, directory.size), where, directory.offset);
  Records found{{}, directory.offset};
  for (std::uint64_t i = 0; i < directory.entries; ++i) found.records.push_back(read_record(table));
  return found;
}

// A deflated entry's `size` bytes.
std::string inflated(std::span<const std::byte> data, std::uint64_t size,
                     const std::string& where) {
  std::string out(size, '\0');
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(size);
  constexpr int kNoHeader = -MAX_WBITS;
  if (inflateInit2(&stream, kNoHeader) != Z_OK) throw std::bad_alloc();
  const int code = inflate(&stream, Z_FINISH);
  inflateEnd(&stream);
  if (code != Z_STREAM_END || stream.avail_out != 0) {
    throw Error(fmt::format("expected {} bytes when inflated, got other data", size), where,
                "the file is damaged");
  }
  return out;
}

}  // namespace

std::map<std::string, ZipEntry, std::less<>> read_stored_zip(std::span<const std::byte> bytes,
                                                             const std::string& where) {
  const Records found = read_records(bytes, where);
  std::map<std::string, ZipEntry, std::less<>> entries;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const Record& record : found.records) {
    const std::string place = entry_place(where, record.name);
    const ZipEntry entry = read_entry(record, ByteReader(bytes.first(found.begin), place));
    need_stored(record, place);
    ranges.emplace_back(record.header, entry.offset + entry.data.size());
    if (!entries.emplace(record.name, entry).second) throw Error("is there twice", place);
  }
  check_disjoint(std::move(ranges), where);
  for (const auto& [name, entry] : entries) check_crc(entry, entry_place(where, name));
  return entries;
}

std::string read_zip_file(std::span<const std::byte> bytes, std::string_view name,
                          std::uint64_t most, const std::string& where) {
  constexpr std::uint64_t kMost = 1u << 30;  // what zlib's counts hold
  constexpr std::uint16_t kStored = 0, kDeflated = 8;
  const std::string place = entry_place(where, name);
  const Records found = read_records(bytes, where);
  const auto record = std::ranges::find(found.records, name, &Record::name);
  if (record == found.records.end()) throw Error("the archive has no such file", place);
  if (record->size > std::min(most, kMost) || record->compressed > kMost) {
    throw Error(fmt::format("expected at most {} bytes, got {}", most, record->size), place);
  }
  const ZipEntry entry = read_entry(*record, ByteReader(bytes.first(found.begin), place));
  if (record->method != kStored && record->method != kDeflated) {
    throw Error(fmt::format("compression method {} is not supported", record->method), place);
  }
  std::string text(reinterpret_cast<const char*>(entry.data.data()), entry.data.size());
  if (record->method == kDeflated) text = inflated(entry.data, record->size, place);
  check_crc({std::as_bytes(std::span(text)), entry.offset, entry.crc}, place);
  return text;
}

}  // namespace blip2
