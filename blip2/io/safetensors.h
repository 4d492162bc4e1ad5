#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/base/file.h"
#include "blip2/io/tensor_file.h"

namespace blip2 {

// A memory-mapped safetensors file. It is checked as strictly as by the reference: tensors are
// contiguous, in bounds, without holes or overlaps, their sizes equal dtype times shape, and no
// name comes twice. Const functions may run on several threads at once. Source:
// https://huggingface.co/docs/safetensors ("Format").
class SafetensorsFile : public TensorFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  std::string_view format() const override { return "safetensors"; }

 private:
  std::map<std::string, std::string> metadata_;
};

std::unique_ptr<SafetensorsFile> open_safetensors(const std::filesystem::path& path);

// Writes a safetensors file tensor by tensor, so that not all tensors need to be in memory. The
// file appears complete or not at all. For one thread at a time.
class SafetensorsWriter {
 public:
  // `tensors`: names, types and shapes of all tensors; their data is not read. Error for quantised
  // types and repeated names.
  SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorView> tensors,
                    const std::map<std::string, std::string>& metadata = {});
  // The places in `tensors` in the order in which their data has to come.
  const std::vector<std::size_t>& order() const { return order_; }
  // The data of the next tensor in that order; Error if its size does not fit.
  void append(std::span<const std::byte> data);
  // Completes the file after the last tensor and gives it its name.
  void commit();

 private:
  std::string where_;
  AtomicFile file_;
  std::vector<std::size_t> order_;
  std::vector<std::uint64_t> sizes_;  // in that order
  std::size_t next_ = 0;
};

// Writes a safetensors file, which appears complete under its name or not at all. Tensors are in
// the given order, larger element types first, so that all are aligned, as the safetensors package
// does it. The header is padded to 8 bytes with spaces. Error for quantised types, repeated names,
// or data whose size does not fit its type and shape.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace blip2
