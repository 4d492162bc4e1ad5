#include "blip2/io/zip.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>

#include "blip2/base/error.h"
#include "blip2/io/gzip.h"

namespace blip2 {
namespace {

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::string deflated(const std::string& text) {
  std::string out(compressBound(text.size()) + 16, '\0');
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// An archive of one file "a.txt"; `method` and `size` as its headers have them.
std::string archive_of(const std::string& text, const std::string& data, std::uint16_t method,
                       std::uint32_t size) {
  const auto crc = static_cast<std::uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
  std::string out;
  const auto fields = [&] {
    put<std::uint16_t>(out, 20);  // version
    put<std::uint16_t>(out, 0);   // flags
    put(out, method);
    put<std::uint32_t>(out, 0);  // time
    put(out, crc);
    put(out, static_cast<std::uint32_t>(data.size()));
    put(out, size);
    put<std::uint16_t>(out, 5);  // of the name
    put<std::uint16_t>(out, 0);  // of the extra field
  };
  put<std::uint32_t>(out, 0x04034b50);
  fields();
  out += "a.txt" + data;
  const auto begin = static_cast<std::uint32_t>(out.size());
  put<std::uint32_t>(out, 0x02014b50);
  put<std::uint16_t>(out, 20);
  fields();
  put<std::uint16_t>(out, 0);  // of the comment
  out.append(8, '\0');         // disk, attributes
  put<std::uint32_t>(out, 0);  // of the local header
  out += "a.txt";
  const auto length = static_cast<std::uint32_t>(out.size()) - begin;
  put<std::uint32_t>(out, 0x06054b50);
  out.append(4, '\0');
  put<std::uint16_t>(out, 1);
  put<std::uint16_t>(out, 1);
  put(out, length);
  put(out, begin);
  put<std::uint16_t>(out, 0);
  return out;
}

std::string read(const std::string& archive, std::string_view name = "a.txt",
                 std::uint64_t most = 1000) {
  return read_zip_file(std::as_bytes(std::span(archive)), name, most, "x.zip");
}

TEST(ZipTest, StoredAndDeflatedFiles) {
  const std::string text = "to be or not to be, to be or not";
  EXPECT_EQ(read(archive_of(text, text, 0, 32)), text);
  EXPECT_EQ(read(archive_of(text, deflated(text), 8, 32)), text);
}

TEST(ZipTest, RefusesWhatIsNotWhole) {
  const std::string text = "to be or not to be, to be or not", data = deflated(text);
  const std::string good = archive_of(text, data, 8, 32);
  EXPECT_THROW(read(good, "b.txt"), Error);
  EXPECT_THROW(read(good, "a.txt", 31), Error);
  EXPECT_THROW(read(archive_of(text, data, 8, 31)), Error);
  EXPECT_THROW(read(archive_of(text, data, 8, 33)), Error);
  EXPECT_THROW(read(archive_of(text, data, 12, 32)), Error);
  EXPECT_THROW(read(archive_of("another text of the same length.", data, 8, 32)), Error);
  EXPECT_THROW(read(archive_of(text, data.substr(0, 10), 8, 32)), Error);
  for (std::size_t i = 0; i < good.size(); ++i) EXPECT_THROW(read(good.substr(0, i)), Error);
}

TEST(GzipTest, LinesOfAnySize) {
  const std::string path = testing::TempDir() + "lines.gz";
  std::vector<std::string> lines{"first", "", std::string(900'000, 'x'), std::string(700'000, 'y'),
                                 "last"};
  const gzFile file = gzopen(path.c_str(), "wb");
  for (const std::string& line : lines) gzputs(file, (line + "\n").c_str());
  gzputs(file, "without an end");
  gzclose(file);
  lines.push_back("without an end");
  std::vector<std::string> got;
  each_gzip_line(path, [&](std::string_view line) { got.emplace_back(line); });
  EXPECT_EQ(got, lines);
}

TEST(GzipTest, RefusesDamage) {
  const std::string path = testing::TempDir() + "damaged.gz";
  const gzFile file = gzopen(path.c_str(), "wb");
  for (int i = 0; i < 50'000; ++i) gzputs(file, (std::to_string(i * 7919 % 10007) + "\n").c_str());
  gzclose(file);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  EXPECT_THROW(each_gzip_line(path, [](std::string_view) {}), Error);
  EXPECT_THROW(each_gzip_line("/no/such/file", [](std::string_view) {}), Error);
}

}  // namespace
}  // namespace blip2
