#include "blip2/model/weight_writer_internal.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/progress.h"
#include "blip2/io/safetensors.h"
#include "blip2/nn/block_matrix.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kShardBytes = 5'000'000'000;

std::uint64_t bytes_of(const WrittenTensor& tensor) {
  const auto bytes = tensor_bytes(tensor.dtype, tensor.shape);
  if (!bytes) throw Error("cannot be written as safetensors", tensor.name);
  return *bytes;
}

void append_quantised(SafetensorsWriter& writer, const WrittenTensor& tensor) {
  const at::Tensor values = to_tensor(*tensor.source);
  if (!values.isfinite().all().item<bool>()) throw Error("a number is not finite", tensor.name);
  try {
    writer.append(quantise_matrix(values, tensor.dtype));
  } catch (const Error& error) {
    if (!error.where().empty()) throw;  // the file's own
    throw error.within(tensor.name);
  }
}

void append(SafetensorsWriter& writer, const WrittenTensor& tensor) {
  const TensorView& source = *tensor.source;
  if (!tensor.change && tensor.dtype == source.dtype) return writer.append(source.data);
  if (is_quantised(tensor.dtype)) return append_quantised(writer, tensor);
  const at::ScalarType type = *scalar_type_of(tensor.dtype);
  at::Tensor values =
      to_tensor(source, tensor.change ? scalar_type_of(source.dtype).value_or(at::kFloat) : type);
  if (tensor.change) values = tensor.change(values).to(type).contiguous();
  writer.append(view_of(tensor.name, values).data);
}

void write_file_of(const TensorFile& file, std::span<const WrittenTensor> tensors,
                   const std::filesystem::path& path, Progress& progress, std::int64_t& done) {
  std::vector<TensorView> headers;
  for (const WrittenTensor& tensor : tensors) {
    headers.push_back({tensor.name, tensor.dtype, tensor.shape, {}});
  }
  SafetensorsWriter writer(path, headers, {{"format", "pt"}});
  for (const std::size_t i : writer.order()) {
    if (interrupted()) throw Interrupted{};
    append(writer, tensors[i]);
    file.release(*tensors[i].source);
    progress.update(++done);
  }
  writer.commit();
}

// Where each shard begins, and the number of tensors.
std::vector<std::size_t> cut(const std::vector<WrittenTensor>& tensors) {
  std::vector<std::size_t> begins{0};
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::uint64_t size = bytes_of(tensors[i]);
    if (bytes > 0 && bytes + size > kShardBytes) {
      begins.push_back(i);
      bytes = 0;
    }
    bytes += size;
  }
  begins.push_back(tensors.size());
  return begins;
}

}  // namespace

DType dtype_of(at::ScalarType type) {
  if (type == at::kHalf) return DType::f16;
  return type == at::kBFloat16 ? DType::bf16 : DType::f32;
}

bool is_floating(DType dtype) {
  if (dtype == DType::f8_e4m3 || dtype == DType::f8_e5m2 || is_block_type(dtype)) return true;
  const auto type = scalar_type_of(dtype);
  return type && c10::isFloatingType(*type);
}

void write_weight_file(const TensorFile& file, const std::vector<WrittenTensor>& tensors,
                       const std::filesystem::path& path) {
  Progress progress("tensors", std::ssize(tensors));
  std::int64_t done = 0;
  write_file_of(file, tensors, path, progress, done);
  progress.finish();
}

void write_weights(const TensorFile& file, const std::vector<WrittenTensor>& tensors,
                   const std::filesystem::path& folder) {
  const auto begins = cut(tensors);
  if (begins.size() == 2) return write_weight_file(file, tensors, folder / "model.safetensors");
  Progress progress("tensors", std::ssize(tensors));
  nlohmann::json map = nlohmann::json::object();
  std::int64_t done = 0;
  std::uint64_t total = 0;
  const std::size_t shards = begins.size() - 1;
  for (std::size_t s = 0; s < shards; ++s) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", s + 1, shards);
    const std::span part(tensors.data() + begins[s], begins[s + 1] - begins[s]);
    write_file_of(file, part, folder / name, progress, done);
    for (const WrittenTensor& tensor : part) {
      map[safetensors_name(tensor.name, tensor.dtype)] = name;
      total += bytes_of(tensor);
    }
  }
  const nlohmann::json index{{"metadata", {{"total_size", total}}}, {"weight_map", std::move(map)}};
  write_file(folder / "model.safetensors.index.json", index.dump(2) + "\n");
  progress.finish();
}

}  // namespace blip2
