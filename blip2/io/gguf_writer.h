#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/base/file.h"
#include "blip2/io/tensor_view.h"

namespace blip2 {

// Writes a GGUF version 3 file: metadata and the list of tensors first, then their data one by one.
// The file appears with commit(), complete or not at all. Error as AtomicFile's.
class GgufWriter {
 public:
  explicit GgufWriter(const std::filesystem::path& path) : file_(path) {}

  void add(const std::string& key, const std::string& value);
  void add(const std::string& key, std::uint32_t value);
  void add(const std::string& key, float value);
  // What the file will hold, outermost dimension first. Before begin().
  void add_tensor(const std::string& name, DType type, std::span<const std::int64_t> shape);

  // Writes all that has been added. append() then takes the data of each tensor, in their order.
  void begin();
  void append(std::span<const std::byte> data);
  void commit() { file_.commit(); }

 private:
  struct Tensor {
    std::string name;
    DType type;
    std::vector<std::int64_t> shape;
    std::uint64_t bytes;
  };

  void add_key(const std::string& key, std::uint32_t type);
  void pad(std::uint64_t bytes);

  AtomicFile file_;
  std::string pairs_;
  std::uint64_t pair_count_ = 0;
  std::vector<Tensor> tensors_;
};

}  // namespace blip2
