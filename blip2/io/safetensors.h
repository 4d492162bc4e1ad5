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
//
// The format has no quantised types. A file whose metadata has kQuantisation holds matrices in
// GGUF's Q8_0 as bytes under names of their own (safetensors_name); they are shown as Q8_0.
class SafetensorsFile : public TensorFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  std::string_view format() const override { return "safetensors"; }
  std::string stored_name(const std::string& name) const override;

 private:
  std::map<std::string, std::string> metadata_;
};

// The metadata's key that says how matrices in Q8_0 were rounded.
inline constexpr char kQuantisation[] = "blip2.quantisation";
// What a safetensors file calls a tensor: "NAME.q8_0" for a matrix [outs, width] in Q8_0, which it
// has as U8 [outs, width / 32 * 34], the blocks of a row one after another; otherwise its name.
std::string safetensors_name(const std::string& name, DType dtype);

std::unique_ptr<SafetensorsFile> open_safetensors(const std::filesystem::path& path);

// Writes a safetensors file tensor by tensor, so that not all tensors need to be in memory. The
// file appears complete or not at all. For one thread at a time.
class SafetensorsWriter {
 public:
  // `tensors`: names, types and shapes of all tensors; their data is not read. Error for quantised
  // types but matrices in Q8_0, and for repeated names.
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
// does it. The header is padded to 8 bytes with spaces. Error for quantised types but matrices in
// Q8_0, repeated names, or data whose size does not fit its type and shape.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace blip2
