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

// A memory-mapped safetensors file. Checked as strictly as the reference: tensors contiguous, in
// bounds, without holes or overlaps, sizes equal to dtype times shape, no name twice.
// Source: https://huggingface.co/docs/safetensors ("Format").
class SafetensorsFile : public TensorFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  std::string_view format() const override { return "safetensors"; }

 private:
  std::map<std::string, std::string> metadata_;
};

std::unique_ptr<SafetensorsFile> open_safetensors(const std::filesystem::path& path);

// Writes a safetensors file tensor by tensor, so that not all of them need to be in memory; atomic
// as write_safetensors is.
class SafetensorsWriter {
 public:
  // Names, types and shapes of all tensors; their data is not looked at. Error for quantised types
  // and repeated names.
  SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorView> tensors,
                    const std::map<std::string, std::string>& metadata = {});
  // The places in `tensors` in the order in which their data has to come.
  const std::vector<std::size_t>& order() const { return order_; }
  // The next tensor's data; Error if it has another size.
  void append(std::span<const std::byte> data);
  // After the last one.
  void commit();

 private:
  std::string where_;
  AtomicFile file_;
  std::vector<std::size_t> order_;
  std::vector<std::uint64_t> sizes_;  // in that order
  std::size_t next_ = 0;
};

// Writes a safetensors file atomically: complete under its name or not at all. Tensors are in the
// given order, larger element types first (so that all are aligned; the order in which the
// safetensors package writes is kept). The header is padded to 8 bytes with spaces. Error for
// quantised types, repeated names, or data whose size does not fit its type and shape.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace blip2
