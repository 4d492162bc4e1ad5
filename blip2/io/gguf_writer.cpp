#include "blip2/io/gguf_writer.h"

#include <map>
#include <string_view>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

constexpr std::uint32_t kWrittenVersion = 3;
// gguf_metadata_value_type's numbers.
constexpr std::uint32_t kUint8 = 0, kUint32 = 4, kInt32 = 5, kFloat32 = 6, kBool = 7, kString = 8,
                        kArray = 9;
constexpr std::uint64_t kAlignment = 32;

// ggml_type's numbers of what is written.
std::uint32_t type_number(DType type) {
  static const std::map<DType, std::uint32_t> numbers{
      {DType::f32, 0},   {DType::f16, 1},   {DType::q4_0, 2}, {DType::q4_1, 3},
      {DType::q5_0, 6},  {DType::q5_1, 7},  {DType::q8_0, 8}, {DType::q4_k, 12},
      {DType::q5_k, 13}, {DType::q6_k, 14}, {DType::bf16, 30}};
  const auto found = numbers.find(type);
  if (found != numbers.end()) return found->second;
  throw Error("cannot write " + std::string(dtype_name(type)) + " into a GGUF file");
}

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_string(std::string& out, std::string_view text) {
  put<std::uint64_t>(out, text.size());
  out += text;
}

std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

void GgufWriter::add_key(const std::string& key, std::uint32_t type) {
  put_string(pairs_, key);
  put(pairs_, type);
  ++pair_count_;
}

void GgufWriter::add_array(const std::string& key, std::uint32_t type, std::size_t count) {
  add_key(key, kArray);
  put(pairs_, type);
  put<std::uint64_t>(pairs_, count);
}

void GgufWriter::add(const std::string& key, std::string_view value) {
  add_key(key, kString);
  put_string(pairs_, value);
}

void GgufWriter::add(const std::string& key, std::uint32_t value) {
  add_key(key, kUint32);
  put(pairs_, value);
}

void GgufWriter::add(const std::string& key, float value) {
  add_key(key, kFloat32);
  put(pairs_, value);
}

void GgufWriter::add_flag(const std::string& key, bool value) {
  add_key(key, kBool);
  put<std::uint8_t>(pairs_, value ? 1 : 0);
}

void GgufWriter::add(const std::string& key, std::span<const std::string> values) {
  add_array(key, kString, values.size());
  for (const std::string& value : values) put_string(pairs_, value);
}

void GgufWriter::add(const std::string& key, std::span<const std::int32_t> values) {
  add_array(key, kInt32, values.size());
  for (const std::int32_t value : values) put(pairs_, value);
}

void GgufWriter::add(const std::string& key, std::span<const float> values) {
  add_array(key, kFloat32, values.size());
  for (const float value : values) put(pairs_, value);
}

void GgufWriter::add_bytes(const std::string& key, std::string_view values) {
  add_array(key, kUint8, values.size());
  pairs_ += values;
}

void GgufWriter::add_tensor(const std::string& name, DType type,
                            std::span<const std::int64_t> shape) {
  const auto bytes = tensor_bytes(type, shape);
  if (!bytes) throw Error("a tensor's shape is no multiple of its block", name);
  tensors_.push_back({name, type, {shape.begin(), shape.end()}, *bytes});
}

void GgufWriter::begin() {
  std::string head = "GGUF";
  put(head, kWrittenVersion);
  put<std::uint64_t>(head, tensors_.size());
  put(head, pair_count_);
  head += pairs_;
  std::uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    put_string(head, tensor.name);
    put(head, static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) put(head, *size);
    put(head, type_number(tensor.type));
    put(head, offset);
    offset += aligned(tensor.bytes);
  }
  const std::uint64_t size = head.size();
  file_.write(head);
  pad(size);
}

void GgufWriter::append(std::span<const std::byte> data) {
  const bool fits = next_ < tensors_.size() && data.size() <= tensors_[next_].bytes - appended_;
  if (!fits) throw Error("more data than tensors have been added");
  file_.write(data);
  appended_ += data.size();
  if (appended_ < tensors_[next_].bytes) return;
  pad(appended_);
  ++next_, appended_ = 0;
}

void GgufWriter::commit() {
  if (next_ < tensors_.size()) throw Error("data of a tensor are missing");
  file_.commit();
}

void GgufWriter::pad(std::uint64_t bytes) {
  file_.write(std::string(aligned(bytes) - bytes, '\0'));
}

}  // namespace blip2
