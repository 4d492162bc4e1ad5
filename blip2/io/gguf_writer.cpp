#include "blip2/io/gguf_writer.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

constexpr std::uint32_t kWrittenVersion = 3, kUint32 = 4, kFloat32 = 6, kString = 8;
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

void GgufWriter::add(const std::string& key, const std::string& value) {
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
  file_.write(data);
  pad(data.size());
}

void GgufWriter::pad(std::uint64_t bytes) {
  file_.write(std::string(aligned(bytes) - bytes, '\0'));
}

}  // namespace blip2
