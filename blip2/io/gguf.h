#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "blip2/io/tensor_file.h"

namespace blip2 {

class ByteReader;

// A metadata value. Whole numbers are widened to 64 bits; arrays of whole numbers are int32 where
// all fit that, else 64 bits; arrays may be nested.
struct GgufValue {
  using Array = std::vector<GgufValue>;
  std::variant<std::uint64_t, std::int64_t, double, bool, std::string, std::vector<std::string>,
               std::vector<std::int32_t>, std::vector<std::int64_t>, std::vector<std::uint64_t>,
               std::vector<double>, std::vector<bool>, Array>
      value;
};

// A value as a listing shows it: "151", "\"llama\"", "[49152 strings]".
std::string describe(const GgufValue& value);

// A memory-mapped GGUF version 3 file (little-endian). Tensor shapes are outermost first.
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
class GgufFile : public TensorFile {
 public:
  explicit GgufFile(const std::filesystem::path& path);

  // A metadata value by key; empty (null) if the key is missing, Error if it has another type.
  std::optional<std::string> string(std::string_view key) const;
  std::optional<std::uint64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;  // whole numbers too
  std::optional<bool> boolean(std::string_view key) const;
  const std::vector<std::string>* strings(std::string_view key) const;
  const std::vector<std::int32_t>* integers(std::string_view key) const;
  const std::vector<double>* numbers(std::string_view key) const;

  // Adds the tensors of the other parts of a model that llama.cpp has split ("split.count"), which
  // lie beside this, the first one: NAME-00002-of-00003.gguf. Error if one is missing or belongs to
  // another model.
  void join_parts();

  // All metadata in the order of the file.
  const std::vector<std::pair<std::string, GgufValue>>& metadata() const { return metadata_; }
  std::string_view format() const override { return "GGUF"; }

 private:
  const GgufValue* value(std::string_view key) const;
  template <typename T>
  const T* value_as(std::string_view key, const char* expected) const;

  void read_pair(ByteReader& reader);

  std::vector<std::pair<std::string, GgufValue>> metadata_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

// The file, or the whole model of whose parts it is one: metadata of the first, tensors of all.
std::unique_ptr<GgufFile> open_gguf(const std::filesystem::path& path);
// Whether the file starts as GGUF files do.
bool looks_like_gguf(std::span<const std::byte> bytes);

// The file of a model directory that has its language model in GGUF's blocks, in place of a
// safetensors file: the file from which the model comes, or into which it was quantised.
inline constexpr char kLanguageGguf[] = "model-language.gguf";

// Whether a weight file is a GGUF file.
inline bool is_gguf(const TensorFile& file) {
  return dynamic_cast<const GgufFile*>(&file) != nullptr;
}

}  // namespace blip2
