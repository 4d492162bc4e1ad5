// io VERB FILE [OUTPUT]: reads a weight file and prints or rewrites it, for test_io.py.
//   list FILE           one JSON object: format, tensors (name, dtype, shape), metadata
//   float32 FILE OUT [PREFIX]  tensors (whose name starts so) converted to f32, as safetensors
//   copy FILE OUT       every tensor as it is, as safetensors, with the file's own metadata
//   folder DIR OUT      the weights of a model directory, as safetensors
//   quantise FILE OUT TYPE  tensors in blocks of that type, their bytes as u8 by row
//   time FILE           seconds to open the file and to convert all of it to f32
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <deque>
#include <iostream>
#include <string>

#include "blip2/base/error.h"
#include "blip2/io/gguf.h"
#include "blip2/io/json.h"
#include "blip2/io/quantise.h"
#include "blip2/io/safetensors.h"
#include "blip2/io/torch_archive_internal.h"

namespace blip2 {
namespace {

void list(const TensorFile& file) {
  nlohmann::ordered_json out{{"format", file.format()}};
  for (const TensorView& tensor : file.tensors()) {
    out["tensors"].push_back(
        {{"name", tensor.name}, {"dtype", dtype_name(tensor.dtype)}, {"shape", tensor.shape}});
  }
  if (const auto* gguf = dynamic_cast<const GgufFile*>(&file)) {
    for (const auto& [key, value] : gguf->metadata()) out["metadata"][key] = describe(value);
  }
  if (const auto* torch = dynamic_cast<const TorchArchive*>(&file)) {
    out["metadata"] = torch->scalars();
  }
  std::cout << out.dump() << "\n";
}

void convert(const TensorFile& file, const std::filesystem::path& output,
             const std::string& prefix) {
  std::deque<std::vector<float>> floats;
  std::vector<TensorView> views;
  for (const TensorView& tensor : file.tensors()) {
    if (!tensor.name.starts_with(prefix)) continue;
    auto& values = floats.emplace_back(static_cast<std::size_t>(tensor.numel()));
    to_float32(tensor, values);
    views.push_back({tensor.name, DType::f32, tensor.shape, std::as_bytes(std::span(values))});
  }
  write_safetensors(output, views);
}

void quantise_all(const TensorFile& file, const std::filesystem::path& output,
                  const std::string& type) {
  std::deque<std::vector<std::byte>> blocks;
  std::vector<TensorView> views;
  for (const TensorView& tensor : file.tensors()) {
    std::vector<float> values(static_cast<std::size_t>(tensor.numel()));
    to_float32(tensor, values);
    const auto& bytes = blocks.emplace_back(quantise(dtype_from_name(type).value(), values));
    const auto rows = tensor.shape[0], size = static_cast<std::int64_t>(bytes.size());
    views.push_back({tensor.name, DType::u8, {rows, size / rows}, bytes});
  }
  write_safetensors(output, views);
}

void copy(const TensorFile& file, const std::filesystem::path& output) {
  const auto* safetensors = dynamic_cast<const SafetensorsFile*>(&file);
  using Metadata = std::map<std::string, std::string>;
  write_safetensors(output, file.tensors(), safetensors ? safetensors->metadata() : Metadata{});
}

void time(const std::filesystem::path& path) {
  const auto seconds = [start = std::chrono::steady_clock::now()] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const auto file = open_tensor_file(path);
  const double opened = seconds();
  std::vector<float> values;
  std::int64_t count = 0;
  for (const TensorView& tensor : file->tensors()) {
    values.resize(std::max(values.size(), static_cast<std::size_t>(tensor.numel())));
    to_float32(tensor, std::span(values).first(static_cast<std::size_t>(tensor.numel())));
    count += tensor.numel();
  }
  fmt::print("{{\"open\": {}, \"convert\": {}, \"elements\": {}}}\n", opened, seconds() - opened,
             count);
}

int run(const std::string& verb, const std::string& path, const std::string& output,
        const std::string& prefix) {
  if (verb == "folder") {
    copy(*open_model_weights(path), output);
  } else if (verb == "time") {
    time(path);
  } else if (verb == "list") {
    list(*open_tensor_file(path));
  } else if (verb == "float32") {
    convert(*open_tensor_file(path), output, prefix);
  } else if (verb == "quantise") {
    quantise_all(*open_tensor_file(path), output, prefix);
  } else if (verb == "copy") {
    copy(*open_tensor_file(path), output);
  } else {
    throw Error("unknown verb \"" + verb + "\"");
  }
  return 0;
}

}  // namespace
}  // namespace blip2

int main(int argc, char** argv) {
  try {
    if (argc < 3) throw blip2::Error("expected a verb and a file");
    return blip2::run(argv[1], argv[2], argc > 3 ? argv[3] : "", argc > 4 ? argv[4] : "");
  } catch (const blip2::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
