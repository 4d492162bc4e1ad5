#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/base/file.h"
#include "blip2/io/tensor_view.h"

namespace blip2 {

// Writes a GGUF version 3 file: metadata and the list of tensors first, then their data one by one.
// The file appears with commit(), complete or not at all. Error as AtomicFile's.
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
class GgufWriter {
 public:
  explicit GgufWriter(const std::filesystem::path& path) : file_(path) {}

  void add(const std::string& key, std::string_view value);
  void add(const std::string& key, std::uint32_t value);
  void add(const std::string& key, float value);
  void add_flag(const std::string& key, bool value);
  void add(const std::string& key, std::span<const std::string> values);
  void add(const std::string& key, std::span<const std::int32_t> values);
  void add(const std::string& key, std::span<const float> values);
  void add_bytes(const std::string& key, std::string_view values);
  // What the file will hold, outermost dimension first. Before begin().
  void add_tensor(const std::string& name, DType type, std::span<const std::int64_t> shape);

  // Writes all that has been added. append() then takes the data of each tensor, in their order,
  // whole or piece by piece.
  void begin();
  void append(std::span<const std::byte> data);
  void commit();

 private:
  struct Tensor {
    std::string name;
    DType type;
    std::vector<std::int64_t> shape;
    std::uint64_t bytes;
  };

  void add_key(const std::string& key, std::uint32_t type);
  void add_array(const std::string& key, std::uint32_t type, std::size_t count);
  void pad(std::uint64_t bytes);

  AtomicFile file_;
  std::string pairs_;
  std::uint64_t pair_count_ = 0;
  std::vector<Tensor> tensors_;
  std::size_t next_ = 0;        // the tensor that append() takes data of
  std::uint64_t appended_ = 0;  // bytes of it
};

}  // namespace blip2
