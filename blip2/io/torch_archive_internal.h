#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "blip2/io/tensor_file.h"

namespace blip2 {

class Pickle;
struct PickledTensor;

// A file that torch.save wrote (.pth, .pt, .bin), either the zip archive or the older stream of
// pickles. The pickle is read by this library's own machine, which knows tensors and plain
// containers and nothing else: it imports and calls nothing, and any other global is an Error that
// names it. Nested dictionaries and lists are flattened, keys joined by '.'. Contiguous tensors are
// mapped, others are copied into row-major order. Const functions may run on several threads at
// once.
class TorchArchive : public TensorFile {
 public:
  explicit TorchArchive(const std::filesystem::path& path);

  // The values beside the tensors (numbers, strings, None …) as text, by joined key.
  const std::map<std::string, std::string>& scalars() const { return scalars_; }
  std::string_view format() const override { return "PyTorch archive"; }

 private:
  void read_zip(std::span<const std::byte> bytes);
  void read_legacy(std::span<const std::byte> bytes);
  using Storages = std::map<std::string_view, std::span<const std::byte>>;
  void add_all(const Pickle& pickle, const Storages& storages);
  void add_tensor(std::string name, const PickledTensor& tensor,
                  std::span<const std::byte> storage);

  std::map<std::string, std::string> scalars_;
  std::uint64_t file_bytes_ = 0, copied_ = 0;  // bytes of tensors copied into row-major order
};

std::unique_ptr<TorchArchive> open_torch_archive(const std::filesystem::path& path);
// Whether the file starts as torch.save's zip archives or legacy streams do.
bool looks_like_torch_archive(std::span<const std::byte> bytes);

}  // namespace blip2
