#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/base/hash.h"
#include "blip2/io/byte_reader.h"
#include "blip2/search/vector_file_internal.h"

namespace blip2 {
namespace {

constexpr std::string_view kVectorMagic = "BLIP2VEC";
constexpr std::uint32_t kVectorVersion = 1;
constexpr std::string_view kVectorEnding = ".vectors";
constexpr std::int64_t kMaxSide = 1 << 16;  // of Q and of E
constexpr std::size_t kBlockBytes = 1 << 20;

static_assert(std::endian::native == std::endian::little, "files are mapped as they are");

std::uint64_t up_to_64(std::uint64_t offset) {
  return (offset + 63) / 64 * 64;
}

template <typename T>
void append_value(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::span<const std::byte> bytes_of_text(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::uint64_t sum_rows(std::span<const std::byte> rows, std::size_t bytes, std::uint64_t sum) {
  for (; !rows.empty(); rows = rows.subspan(bytes)) sum = hash_bytes(rows.first(bytes), sum);
  return sum;
}

void check_values(const VectorFileHeader& header, std::uint64_t size, const ByteReader& reader) {
  const VectorShape& shape = header.shape;
  if (shape.queries < 1 || shape.queries > kMaxSide || shape.width < 1 || shape.width > kMaxSide) {
    reader.fail(fmt::format("expected vectors of a sensible shape, got {} x {}", shape.queries,
                            shape.width));
  }
  const CodeSizes expected = code_sizes(shape);
  if (header.codes.head != expected.head || header.codes.body != expected.body) {
    reader.fail(fmt::format("expected {} + {} bytes for a picture, got {} + {}", expected.head,
                            expected.body, header.codes.head, header.codes.body));
  }
  const std::uint64_t row = sizeof(std::int64_t) + expected.head + expected.body;
  if (header.rows > size / row || layout_of(header).end != size) {
    reader.fail(fmt::format("the header says {} pictures of {} bytes, but the file has {} bytes",
                            header.rows, row, size));
  }
}

}  // namespace

VectorFileLayout layout_of(const VectorFileHeader& header) {
  VectorFileLayout layout;
  layout.numbers = kVectorHeaderBytes;
  layout.bodies = up_to_64(layout.numbers + header.rows * sizeof(std::int64_t));
  layout.heads = up_to_64(layout.bodies + header.rows * header.codes.body);
  layout.end = layout.heads + header.rows * header.codes.head;
  return layout;
}

std::string write_header(const VectorFileHeader& header) {
  std::string bytes(kVectorMagic);
  append_value(bytes, kVectorVersion);
  append_value(bytes, std::uint32_t{0});
  append_value(bytes, header.shape.queries);
  append_value(bytes, header.shape.width);
  append_value(bytes, header.rows);
  append_value(bytes, std::uint64_t{header.codes.body});
  append_value(bytes, std::uint64_t{header.codes.head});
  append_value(bytes, hash_bytes(bytes_of_text(bytes)));
  return bytes;
}

VectorFileHeader read_header(std::span<const std::byte> bytes, const std::string& where) {
  ByteReader reader(bytes, where);
  const auto magic = reader.text(kVectorMagic.size(), "the format's name");
  if (magic != kVectorMagic) reader.fail("expected a file of vectors of an index");
  const auto version = reader.read<std::uint32_t>("the version");
  if (version != kVectorVersion) {
    reader.fail(fmt::format("expected version {}, got {}", kVectorVersion, version),
                "--rebuild makes the index again");
  }
  reader.read<std::uint32_t>("the header");
  VectorFileHeader header;
  header.shape.queries = reader.read<std::int64_t>("the header");
  header.shape.width = reader.read<std::int64_t>("the header");
  header.rows = reader.read<std::uint64_t>("the header");
  header.codes.body = reader.read<std::uint64_t>("the header");
  header.codes.head = reader.read<std::uint64_t>("the header");
  const std::uint64_t expected = hash_bytes(bytes.first(reader.position()));
  if (reader.read<std::uint64_t>("the header's checksum") != expected) {
    reader.fail("the header is damaged: its checksum is wrong", "--rebuild makes the index again");
  }
  check_values(header, bytes.size(), reader);
  return header;
}

std::string vector_file_name(std::int64_t number) {
  return fmt::format("{}{}", number, kVectorEnding);
}

std::optional<std::int64_t> vector_file_number(const std::string& name) {
  std::int64_t number = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
  if (parsed.ec != std::errc() || number < 1) return std::nullopt;
  if (name != vector_file_name(number)) return std::nullopt;
  return number;
}

VectorFile::VectorFile(const std::filesystem::path& path)
    : mapped_(MappedFile::open(path)), header_(read_header(mapped_->bytes(), path.string())) {
  const VectorFileLayout layout = layout_of(header_);
  const auto bytes = mapped_->bytes();
  numbers_ = {reinterpret_cast<const std::int64_t*>(bytes.data() + layout.numbers), header_.rows};
  bodies_ = bytes.subspan(layout.bodies, header_.rows * header_.codes.body);
  heads_ = bytes.subspan(layout.heads, header_.rows * header_.codes.head);
}

std::span<const std::byte> VectorFile::body(std::size_t row) const {
  return bodies_.subspan(row * header_.codes.body, header_.codes.body);
}

std::span<const std::byte> VectorFile::head(std::size_t row) const {
  return heads_.subspan(row * header_.codes.head, header_.codes.head);
}

std::optional<std::size_t> VectorFile::row_of(std::int64_t number) const {
  const auto found = std::lower_bound(numbers_.begin(), numbers_.end(), number);
  if (found == numbers_.end() || *found != number) return std::nullopt;
  return static_cast<std::size_t>(found - numbers_.begin());
}

std::uint64_t VectorFile::sum_of_numbers() const {
  return hash_bytes(std::as_bytes(numbers_));
}

VectorFileWriter::VectorFileWriter(const std::filesystem::path& path, VectorShape shape,
                                   std::span<const std::int64_t> numbers)
    : file_(path), header_{shape, numbers.size(), code_sizes(shape)}, layout_(layout_of(header_)) {
  append(bytes_of_text(write_header(header_)));
  append(std::as_bytes(numbers));
  sums_.numbers = hash_bytes(std::as_bytes(numbers));
  fill_to(layout_.bodies);
}

void VectorFileWriter::add_bodies(std::span<const std::byte> bodies) {
  sums_.bodies = sum_rows(bodies, header_.codes.body, sums_.bodies);
  append(bodies);
}

void VectorFileWriter::add_heads(std::span<const std::byte> heads) {
  fill_to(layout_.heads);
  sums_.heads = sum_rows(heads, header_.codes.head, sums_.heads);
  append(heads);
}

VectorSums VectorFileWriter::commit() {
  fill_to(layout_.heads);  // also of a file without pictures
  need(at_ == layout_.end, fmt::format("expected {} bytes, wrote {}", layout_.end, at_),
       "file of vectors");
  flush();
  file_.commit();
  return sums_;
}

void VectorFileWriter::append(std::span<const std::byte> bytes) {
  at_ += bytes.size();
  if (waiting_.size() + bytes.size() > kBlockBytes) flush();
  if (bytes.size() > kBlockBytes) return file_.write(bytes);
  waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
}

void VectorFileWriter::flush() {
  file_.write(waiting_);
  waiting_.clear();
}

void VectorFileWriter::fill_to(std::uint64_t offset) {
  static constexpr std::byte kZeros[64] = {};
  if (at_ < offset) append(std::span(kZeros).first(std::min<std::uint64_t>(offset - at_, 64)));
}

}  // namespace blip2
