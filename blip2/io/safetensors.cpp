#include "blip2/io/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <set>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/io/json.h"
#include "blip2/io/quantise.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the reference's limit

std::string_view header_text(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() < kLengthBytes) {
    throw Error(fmt::format("expected at least {} bytes, got {}", kLengthBytes, bytes.size()),
                where, "the file is empty or truncated");
  }
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const std::uint64_t left = bytes.size() - kLengthBytes;
  if (length > left || length > kMaxHeader) {
    throw Error(fmt::format("the header claims {} bytes at offset 8; the file has {} more and a "
                            "header has at most {}",
                            length, left, kMaxHeader),
                where, "the file is truncated or not safetensors");
  }
  return {reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length};
}

// Null is none, as the safetensors package reads it.
std::map<std::string, std::string> read_metadata(const json& value, const std::string& where) {
  if (value.is_null()) return {};
  if (!value.is_object()) throw Error("\"__metadata__\" is not an object of strings", where);
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      throw Error(fmt::format("\"__metadata__\": \"{}\" is not a string", printable(key)), where);
    }
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

// A header entry's array of whole numbers that fit 63 bits.
std::vector<std::int64_t> whole_numbers(const json& entry, const char* field,
                                        const std::string& where) {
  const auto found = entry.find(field);
  if (found == entry.end() || !found->is_array()) {
    throw Error(fmt::format("expected an array \"{}\"", field), where);
  }
  std::vector<std::int64_t> numbers;
  for (const json& number : *found) {
    if (!number.is_number_unsigned() || number.get<std::uint64_t>() > INT64_MAX) {
      throw Error(fmt::format("\"{}\" holds {}, expected whole numbers from 0 to 2^63 - 1", field,
                              printable(number.dump())),
                  where);
    }
    numbers.push_back(number.get<std::int64_t>());
  }
  return numbers;
}

DType read_dtype(const json& entry, const std::string& where) {
  const auto found = entry.find("dtype");
  if (found == entry.end() || !found->is_string()) {
    throw Error("expected a string \"dtype\"", where);
  }
  const auto dtype = dtype_from_name(found->get_ref<const std::string&>());
  if (!dtype || is_quantised(*dtype)) {
    throw Error(fmt::format("unknown or unsupported dtype \"{}\"",
                            printable(found->get_ref<const std::string&>())),
                where, "known are the types of safetensors 0.8, from F64 and I64 to F4 and BOOL");
  }
  return *dtype;
}

// One header entry, its data checked against the bytes after the header.
TensorView read_entry(const std::string& name, const json& entry, std::span<const std::byte> data,
                      const std::string& file) {
  const std::string where = fmt::format("{}: tensor \"{}\"", file, printable(name));
  if (!entry.is_object()) throw Error("its header entry is not an object", where);
  for (const auto& [key, value] : entry.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      throw Error(fmt::format("unknown field \"{}\" in its header entry", printable(key)), where);
    }
  }
  TensorView tensor{name, read_dtype(entry, where), whole_numbers(entry, "shape", where), {}};
  const auto offsets = whole_numbers(entry, "data_offsets", where);
  if (offsets.size() != 2 || offsets[0] > offsets[1] ||
      static_cast<std::uint64_t>(offsets[1]) > data.size()) {
    throw Error(fmt::format("data offsets [{}] do not lie in the {} bytes of data",
                            fmt::join(offsets, ", "), data.size()),
                where, "the file is truncated or damaged");
  }
  const auto begin = static_cast<std::uint64_t>(offsets[0]);
  const auto size = static_cast<std::uint64_t>(offsets[1]) - begin;
  const auto expected = tensor_bytes(tensor.dtype, tensor.shape);
  if (!expected || *expected != size) {
    throw Error(fmt::format("{} takes {} bytes, got data offsets [{}] ({} bytes)", describe(tensor),
                            expected ? std::to_string(*expected) : "more than 2^63",
                            fmt::join(offsets, ", "), size),
                where);
  }
  tensor.data = data.subspan(begin, size);
  return tensor;
}

// Data must be one run without holes and overlaps, so that no byte is hidden or shared.
void check_contiguous(std::span<const TensorView> tensors, std::span<const std::byte> data,
                      const std::string& file) {
  const std::byte* expected = data.data();
  for (const TensorView& tensor : tensors) {
    if (tensor.data.data() != expected) {
      throw Error(
          fmt::format("tensor \"{}\" starts at data offset {}, expected {}", printable(tensor.name),
                      tensor.data.data() - data.data(), expected - data.data()),
          file, "tensors must neither overlap nor leave holes");
    }
    expected += tensor.data.size();
  }
  if (expected != data.data() + data.size()) {
    throw Error(fmt::format("tensors end at data offset {}, the file at {}", expected - data.data(),
                            data.size()),
                file, "bytes that belong to no tensor are refused");
  }
}

constexpr std::string_view kBlocksEnd = ".q8_0";

// The matrix that lies as bytes under a name of its own.
void show_blocks(TensorView& tensor, const std::string& file) {
  if (!tensor.name.ends_with(kBlocksEnd)) return;
  const DTypeBlock block = dtype_block(DType::q8_0);
  if (tensor.dtype != DType::u8 || tensor.shape.size() != 2 || tensor.shape[1] % block.bytes != 0) {
    throw Error(
        fmt::format("expected U8 [rows, a multiple of {}], got {}", block.bytes, describe(tensor)),
        fmt::format("{}: tensor \"{}\"", file, printable(tensor.name)),
        "it is named as a matrix in Q8_0");
  }
  tensor.name.resize(tensor.name.size() - kBlocksEnd.size());
  tensor.dtype = DType::q8_0;
  tensor.shape[1] = tensor.shape[1] / block.bytes * block.elements;
}

// The tensor as the header has it.
TensorView stored_view(const TensorView& tensor) {
  if (tensor.dtype != DType::q8_0) return tensor;
  const DTypeBlock block = dtype_block(DType::q8_0);
  return {safetensors_name(tensor.name, tensor.dtype),
          DType::u8,
          {tensor.shape[0], tensor.shape[1] / block.elements * block.bytes},
          tensor.data};
}

std::string header_entry(const TensorView& shown, std::uint64_t begin, std::uint64_t size) {
  const TensorView tensor = stored_view(shown);
  return fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                     json(tensor.name).dump(), dtype_name(tensor.dtype),
                     fmt::join(tensor.shape, ","), begin, begin + size);
}

std::string header_of(std::span<const TensorView> tensors, std::span<const std::size_t> order,
                      std::map<std::string, std::string> metadata) {
  if (std::ranges::count(tensors, DType::q8_0, &TensorView::dtype) > 0) {
    metadata.try_emplace(kQuantisation, scale_search(DType::q8_0));
  }
  std::string header = "{";
  if (!metadata.empty()) header += "\"__metadata__\":" + json(metadata).dump();
  std::uint64_t offset = 0;
  for (const std::size_t i : order) {
    if (header.size() > 1) header += ',';
    const std::uint64_t size = *tensor_bytes(tensors[i].dtype, tensors[i].shape);
    header += header_entry(tensors[i], offset, size);
    offset += size;
  }
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return header;
}

void check_writable(std::span<const TensorView> tensors,
                    const std::map<std::string, std::string>& metadata, const std::string& where) {
  std::set<std::string_view> names{"__metadata__"};
  for (const auto& [key, text] : metadata) {
    if (!is_utf8(key) || !is_utf8(text)) throw Error("metadata is not valid UTF-8", where);
  }
  for (const TensorView& tensor : tensors) {
    const std::string label = fmt::format("tensor \"{}\"", printable(tensor.name));
    if (!is_utf8(tensor.name)) throw Error(label + ": its name is not valid UTF-8", where);
    if (!names.insert(tensor.name).second) throw Error(label + " is given twice", where);
    const bool blocks = tensor.dtype == DType::q8_0 && tensor.shape.size() == 2;
    if ((is_quantised(tensor.dtype) && !blocks) || !tensor_bytes(tensor.dtype, tensor.shape)) {
      throw Error(fmt::format("{}: {} cannot be written as safetensors", label, describe(tensor)),
                  where);
    }
  }
}

// The path, once it is clear that all can be written.
std::string checked_path(const std::filesystem::path& path, std::span<const TensorView> tensors,
                         const std::map<std::string, std::string>& metadata) {
  check_writable(tensors, metadata, path.string());
  return path.string();
}

// Larger element types first, so that all are aligned.
std::vector<std::size_t> writing_order(std::span<const TensorView> tensors) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater{},
                           [&](std::size_t i) { return dtype_alignment(tensors[i].dtype); });
  return order;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : TensorFile(path) {
  const auto file = MappedFile::open(path);
  const std::string where = path.string();
  const std::string_view text = header_text(file->bytes(), where);
  if (text.empty() || text.front() != '{') {
    throw Error("expected a JSON object at offset 8", where, "the file is not safetensors");
  }
  const json header = parse_json(text, where + ": header", {.depth = 8, .bytes = kMaxHeader});
  const auto data = file->bytes().subspan(kLengthBytes + text.size());
  std::vector<TensorView> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      metadata_ = read_metadata(entry, where);
    } else {
      tensors.push_back(read_entry(name, entry, data, where));
    }
  }
  std::ranges::stable_sort(tensors, {}, [](const TensorView& tensor) {
    return std::pair(tensor.data.data(), tensor.data.size());
  });
  check_contiguous(tensors, data, where);
  if (metadata_.contains(kQuantisation)) {
    for (TensorView& tensor : tensors) show_blocks(tensor, where);
  }
  keep(file);
  for (TensorView& tensor : tensors) add(std::move(tensor));
}

std::string SafetensorsFile::stored_name(const std::string& name) const {
  const TensorView* tensor = find(name);
  return tensor ? safetensors_name(name, tensor->dtype) : name;
}

std::string safetensors_name(const std::string& name, DType dtype) {
  return dtype == DType::q8_0 ? name + std::string(kBlocksEnd) : name;
}

std::unique_ptr<SafetensorsFile> open_safetensors(const std::filesystem::path& path) {
  return std::make_unique<SafetensorsFile>(path);
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::span<const TensorView> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : where_(checked_path(path, tensors, metadata)), file_(path), order_(writing_order(tensors)) {
  for (const std::size_t i : order_) {
    sizes_.push_back(*tensor_bytes(tensors[i].dtype, tensors[i].shape));
  }
  const std::string header = header_of(tensors, order_, metadata);
  const std::uint64_t length = header.size();
  file_.write(std::as_bytes(std::span(&length, 1)));
  file_.write(header);
}

void SafetensorsWriter::append(std::span<const std::byte> data) {
  const std::uint64_t expected = next_ < sizes_.size() ? sizes_[next_++] : 0;
  if (data.size() != expected) {
    throw Error(fmt::format("cannot be written as safetensors: expected {} bytes of tensor {}, got "
                            "{} bytes",
                            expected, next_, data.size()),
                where_);
  }
  file_.write(data);
}

void SafetensorsWriter::commit() {
  if (next_ != sizes_.size()) {
    throw Error(fmt::format("expected the data of {} tensors, got {}", sizes_.size(), next_),
                where_);
  }
  file_.commit();
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const std::map<std::string, std::string>& metadata) {
  SafetensorsWriter writer(path, tensors, metadata);
  for (const std::size_t i : writer.order()) writer.append(tensors[i].data);
  writer.commit();
}

}  // namespace blip2
