#include "blip2/io/gguf.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <map>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/io/byte_reader.h"
#include "blip2/io/gguf_metadata_internal.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr std::uint32_t kGgufMagic = 0x46554747;  // "GGUF"
constexpr std::uint32_t kVersion = 3, kDefaultAlignment = 32, kMaxAlignment = 1u << 20;
constexpr std::uint32_t kMaxDimensions = 4;                        // GGML_MAX_DIMS
constexpr std::uint64_t kMinPairBytes = 13, kMinTensorBytes = 24;  // the least that one takes

// ggml_type's number → our type.
const std::map<std::uint32_t, DType>& tensor_types() {
  static const std::map<std::uint32_t, DType> types{
      {0, DType::f32},      {1, DType::f16},     {2, DType::q4_0},     {3, DType::q4_1},
      {6, DType::q5_0},     {7, DType::q5_1},    {8, DType::q8_0},     {12, DType::q4_k},
      {13, DType::q5_k},    {14, DType::q6_k},   {24, DType::i8},      {25, DType::i16},
      {26, DType::i32},     {27, DType::i64},    {28, DType::f64},     {30, DType::bf16},
      {10, DType::q2_k},    {11, DType::q3_k},   {16, DType::iq2_xxs}, {17, DType::iq2_xs},
      {18, DType::iq3_xxs}, {19, DType::iq1_s},  {20, DType::iq4_nl},  {21, DType::iq3_s},
      {22, DType::iq2_s},   {23, DType::iq4_xs}, {29, DType::iq1_m},   {34, DType::tq1_0},
      {35, DType::tq2_0},   {39, DType::mxfp4}};
  return types;
}

struct Header {
  std::uint64_t tensors, pairs;
};

Header read_header(ByteReader& reader) {
  if (reader.remaining() < 4 || reader.read<std::uint32_t>("the magic") != kGgufMagic) {
    reader.fail("expected the magic \"GGUF\"", "the file is empty, damaged or of another kind");
  }
  const auto version = reader.read<std::uint32_t>("the version");
  if (version != kVersion) {
    const bool big_endian = version == __builtin_bswap32(kVersion);
    reader.fail(fmt::format("expected GGUF version {}, got {}", kVersion,
                            big_endian ? "a big-endian file" : std::to_string(version)),
                "convert the file with llama.cpp's tools");
  }
  Header header;
  header.tensors = reader.read<std::uint64_t>("the number of tensors");
  header.pairs = reader.read<std::uint64_t>("the number of metadata pairs");
  if (header.pairs > reader.remaining() / kMinPairBytes ||
      header.tensors > reader.remaining() / kMinTensorBytes) {
    reader.fail(fmt::format("the header claims {} tensors and {} metadata pairs, {} bytes are left",
                            header.tensors, header.pairs, reader.remaining()),
                "the file is truncated or damaged");
  }
  return header;
}

// A tensor's description; its data is placed once the header's end is known.
struct Info {
  TensorView view;
  std::uint64_t offset, bytes;
};

Info read_info(ByteReader& reader) {
  Info info{};
  info.view.name = read_gguf_string(reader, "a tensor's name");
  const std::string label = fmt::format("tensor \"{}\"", printable(info.view.name));
  const auto dimensions = reader.read<std::uint32_t>("a number of dimensions");
  if (dimensions > kMaxDimensions) {
    reader.fail(fmt::format("{} has {} dimensions, expected at most {}", label, dimensions,
                            kMaxDimensions));
  }
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    info.view.shape.push_back(reader.read<std::int64_t>("a dimension"));
  }
  std::ranges::reverse(info.view.shape);
  const auto type = reader.read<std::uint32_t>("a tensor's type");
  const auto known = tensor_types().find(type);
  if (known == tensor_types().end()) {
    reader.fail(fmt::format("{} has the unknown type {}", label, type),
                "models may use F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, "
                "IQ4_NL, MXFP4");
  }
  info.view.dtype = known->second;
  info.offset = reader.read<std::uint64_t>("a tensor's offset");
  const auto bytes = tensor_bytes(info.view.dtype, info.view.shape);
  if (!bytes) {
    reader.fail(fmt::format("{}: the shape of {} is out of range or no multiple of its block",
                            label, describe(info.view)));
  }
  info.bytes = *bytes;
  return info;
}

void place(Info& info, std::span<const std::byte> data, std::uint64_t alignment,
           const std::string& where) {
  if (info.offset % alignment != 0 || info.offset > data.size() ||
      info.bytes > data.size() - info.offset) {
    throw Error(fmt::format("tensor \"{}\": {} takes {} bytes at data offset {}; the data has {} "
                            "bytes and is aligned to {}",
                            printable(info.view.name), describe(info.view), info.bytes, info.offset,
                            data.size(), alignment),
                where, "the file is truncated or damaged");
  }
  info.view.data = data.subspan(info.offset, info.bytes);
}

void check_disjoint(std::vector<Info>& infos, const std::string& where) {
  std::ranges::stable_sort(infos, {},
                           [](const Info& info) { return std::pair(info.offset, info.bytes); });
  for (std::size_t i = 1; i < infos.size(); ++i) {
    if (infos[i].offset < infos[i - 1].offset + infos[i - 1].bytes) {
      throw Error(fmt::format("tensors \"{}\" and \"{}\" overlap at data offset {}",
                              printable(infos[i - 1].view.name), printable(infos[i].view.name),
                              infos[i].offset),
                  where, "the file is damaged");
    }
  }
}

constexpr std::uint64_t kMaxParts = 99'999;  // five digits in a part's name

// The path of a part, numbered from 0, beside one whose name ends as parts' names do; else the path
// itself with that ending.
std::filesystem::path part_path(const std::filesystem::path& path, std::uint64_t number,
                                std::uint64_t count) {
  static const std::string kEnding = "-00001-of-00001.gguf";
  const std::string name = path.filename().string();
  const std::string stem = name.substr(0, name.size() - std::min(name.size(), kEnding.size()));
  return path.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", stem, number + 1, count);
}

void check_part(const GgufFile& part, std::uint64_t number, std::uint64_t count) {
  const auto got = part.integer("split.no"), of = part.integer("split.count");
  if (got == number && of == count) return;
  throw Error(fmt::format("expected part {} of {}, got part {} of {}", number + 1, count,
                          got.value_or(0) + 1, of.value_or(1)),
              part.path().string());
}

}  // namespace

bool looks_like_gguf(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0;
}

GgufFile::GgufFile(const std::filesystem::path& path) : TensorFile(path) {
  const auto file = MappedFile::open(path);
  const std::string where = path.string();
  ByteReader reader(file->bytes(), where);
  const Header header = read_header(reader);
  for (std::uint64_t i = 0; i < header.pairs; ++i) read_pair(reader);
  std::vector<Info> infos;
  for (std::uint64_t i = 0; i < header.tensors; ++i) infos.push_back(read_info(reader));
  const std::uint64_t alignment = integer("general.alignment").value_or(kDefaultAlignment);
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
    throw Error(fmt::format("general.alignment is {}, expected a power of two up to {}", alignment,
                            kMaxAlignment),
                where);
  }
  const std::uint64_t start = (reader.position() + alignment - 1) / alignment * alignment;
  if (start > file->bytes().size() && !infos.empty()) reader.seek(start, "the tensors' data");
  const auto data = file->bytes().subspan(std::min<std::uint64_t>(start, file->bytes().size()));
  for (Info& info : infos) place(info, data, alignment, where);
  check_disjoint(infos, where);
  keep(file);
  for (Info& info : infos) add(std::move(info.view));
}

void GgufFile::read_pair(ByteReader& reader) {
  std::string key = read_gguf_string(reader, "a metadata key");
  const auto type = reader.read<std::uint32_t>("a metadata type");
  if (!index_.emplace(key, metadata_.size()).second) {
    reader.fail(fmt::format("the metadata key \"{}\" is there twice", printable(key)));
  }
  metadata_.emplace_back(std::move(key), read_gguf_value(reader, type));
}

const GgufValue* GgufFile::value(std::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &metadata_[found->second].second;
}

template <typename T>
const T* GgufFile::value_as(std::string_view key, const char* expected) const {
  const GgufValue* any = value(key);
  if (any == nullptr) return nullptr;
  if (const T* found = std::get_if<T>(&any->value)) return found;
  throw Error(
      fmt::format("metadata \"{}\": expected {}, got {}", printable(key), expected, describe(*any)),
      path().string());
}

std::optional<std::string> GgufFile::string(std::string_view key) const {
  const auto* found = value_as<std::string>(key, "a string");
  return found ? std::optional(*found) : std::nullopt;
}

std::optional<std::uint64_t> GgufFile::integer(std::string_view key) const {
  const GgufValue* any = value(key);
  const auto* number = any ? std::get_if<std::int64_t>(&any->value) : nullptr;
  if (number && *number >= 0) return static_cast<std::uint64_t>(*number);
  const auto* found = value_as<std::uint64_t>(key, "a whole number from 0");
  return found ? std::optional(*found) : std::nullopt;
}

std::optional<double> GgufFile::number(std::string_view key) const {
  const GgufValue* any = value(key);
  if (any) {
    if (const auto* whole = std::get_if<std::uint64_t>(&any->value)) return *whole;
    if (const auto* whole = std::get_if<std::int64_t>(&any->value)) return *whole;
  }
  const auto* found = value_as<double>(key, "a number");
  return found ? std::optional(*found) : std::nullopt;
}

std::optional<bool> GgufFile::boolean(std::string_view key) const {
  const auto* found = value_as<bool>(key, "a boolean");
  return found ? std::optional(*found) : std::nullopt;
}

const std::vector<std::string>* GgufFile::strings(std::string_view key) const {
  return value_as<std::vector<std::string>>(key, "strings");
}

const std::vector<std::int32_t>* GgufFile::integers(std::string_view key) const {
  return value_as<std::vector<std::int32_t>>(key, "32-bit integers");
}

const std::vector<double>* GgufFile::numbers(std::string_view key) const {
  return value_as<std::vector<double>>(key, "numbers");
}

void GgufFile::join_parts() {
  const std::uint64_t count = integer("split.count").value_or(1);
  for (std::uint64_t i = 1; i < count; ++i) {
    const std::filesystem::path path = part_path(this->path(), i, count);
    if (!std::filesystem::exists(path)) {
      throw Error(fmt::format("is part 1 of {}; part {} is not there: expected {}", count, i + 1,
                              path.filename().string()),
                  this->path().string(), "all parts lie in one folder");
    }
    const auto part = std::make_shared<GgufFile>(path);
    check_part(*part, i, count);
    for (const TensorView& tensor : part->tensors()) add(tensor);
    keep(std::shared_ptr<const TensorFile>(part));
  }
  const auto wanted = integer("split.tensors.count").value_or(tensors().size());
  if (count > 1 && wanted != tensors().size()) {
    throw Error(
        fmt::format("its {} parts hold {} tensors, expected {}", count, tensors().size(), wanted),
        path().string(), "they are parts of different models");
  }
}

std::unique_ptr<GgufFile> open_gguf(const std::filesystem::path& path) {
  auto file = std::make_unique<GgufFile>(path);
  const std::uint64_t count = file->integer("split.count").value_or(1);
  if (count <= 1) return file;
  const std::uint64_t number = file->integer("split.no").value_or(0);
  if (count > kMaxParts || number >= count) {
    throw Error(
        fmt::format("is part {} of {}, expected at most {} parts", number + 1, count, kMaxParts),
        path.string());
  }
  if (path != part_path(path, number, count)) {
    throw Error(fmt::format("is part {} of {}; expected a name that ends with -{:05}-of-{:05}.gguf",
                            number + 1, count, number + 1, count),
                path.string(), "keep the names of the parts");
  }
  if (number > 0) {
    const std::filesystem::path first = part_path(path, 0, count);
    if (!std::filesystem::exists(first)) {
      throw Error(fmt::format("is part {} of {}; part 1 is not there: expected {}", number + 1,
                              count, first.filename().string()),
                  path.string(), "all parts lie in one folder");
    }
    file = std::make_unique<GgufFile>(first);
    check_part(*file, 0, count);
  }
  file->join_parts();
  return file;
}

}  // namespace blip2
