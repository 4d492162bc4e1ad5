#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/base/file.h"
#include "blip2/io/tensor_view.h"

namespace blip2 {

// One interface for every weight file: named tensors, mapped into memory where the format allows
// it. Const functions may run on several threads at once.
class TensorFile {
 public:
  virtual ~TensorFile();
  TensorFile(const TensorFile&) = delete;
  TensorFile& operator=(const TensorFile&) = delete;
  // All tensors, in the order of the file.
  const std::vector<TensorView>& tensors() const { return tensors_; }
  // The tensor of that name, or nullptr if there is none.
  const TensorView* find(std::string_view name) const;
  // The tensor of that name; Error naming the file and the nearest name if there is none.
  const TensorView& get(std::string_view name) const;
  const std::filesystem::path& path() const { return path_; }
  // Takes the pages of a tensor that has been read out of this process's memory if it lies in a
  // mapped file, so that a large model that is converted on loading is not held twice. The tensor
  // may be read again.
  void release(const TensorView& tensor) const;
  // "safetensors", "GGUF", "PyTorch archive".
  virtual std::string_view format() const = 0;
  // What the file on disk calls the tensor of that name, whether it is there or not: another name
  // if this is a file under our names (recast.h).
  virtual std::string stored_name(const std::string& name) const { return name; }
  // Throws the one Error for tensors that do not fit `part` of a model, which counts them and names
  // the first few; each fault begins with its tensor's name. Nothing if there is none.
  void refuse(const std::vector<std::string>& faults, std::string_view part = "model") const;

 protected:
  explicit TensorFile(std::filesystem::path path) : path_(std::move(path)) {}
  // Adds a tensor. Error if the name is taken or is not UTF-8. Data that is not aligned to its
  // element is copied.
  void add(TensorView tensor);
  // Keeps the bytes as long as this file lives.
  std::span<const std::byte> keep(std::vector<std::byte> bytes);
  // Keep the owners of tensors' data.
  void keep(std::shared_ptr<const MappedFile> map) { maps_.push_back(std::move(map)); }
  void keep(std::shared_ptr<const TensorFile> file) { files_.push_back(std::move(file)); }

 private:
  std::filesystem::path path_;
  std::vector<TensorView> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::vector<std::shared_ptr<const MappedFile>> maps_;
  std::vector<std::shared_ptr<const TensorFile>> files_;
  std::vector<std::shared_ptr<const std::vector<std::byte>>> copies_;
};

// Opens a safetensors, GGUF or PyTorch file, recognised by its content. Error for any other file.
std::unique_ptr<TensorFile> open_tensor_file(const std::filesystem::path& path);

// The weights of a model directory: model.safetensors, or the shards that
// model.safetensors.index.json names, or pytorch_model.bin, or the shards of its index. Error if
// the directory has none of these, a shard is missing or lies outside the directory, or a tensor is
// not in the shard that the index names.
std::unique_ptr<TensorFile> open_model_weights(const std::filesystem::path& folder);

}  // namespace blip2
