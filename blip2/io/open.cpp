#include <fmt/format.h>

#include <map>
#include <set>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/io/gguf.h"
#include "blip2/io/json.h"
#include "blip2/io/safetensors.h"
#include "blip2/io/tensor_file.h"
#include "blip2/io/torch_archive_internal.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kTorchIndex = "pytorch_model.bin.index.json";

// A shard lies in the index's own folder: a plain file name, nothing that climbs out of it.
void check_shard_name(const std::string& name, const std::string& where) {
  const bool plain = !name.empty() && name != "." && name.find("..") == std::string::npos &&
                     name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
  if (!plain) {
    throw Error(fmt::format("\"{}\" is not a plain file name", printable(name)), where,
                "shards lie beside their index");
  }
}

// The tensors of several files, each where the index's weight_map puts it.
class ShardedFile : public TensorFile {
 public:
  explicit ShardedFile(const std::filesystem::path& index) : TensorFile(index) {
    const std::string where = index.string();
    std::map<std::string, std::set<std::string>> shards;  // file name → its tensors
    for (auto& [name, shard] : read_weight_map(where)) shards[shard].insert(name);
    for (const auto& [shard, names] : shards) {
      check_shard_name(shard, where);
      add_shard(index.parent_path() / shard, names, where);
    }
  }
  std::string_view format() const override {
    return path().filename() == kIndex ? "sharded safetensors" : "sharded PyTorch archive";
  }
  std::string stored_name(const std::string& name) const override {
    const TensorView* tensor = find(name);
    return tensor ? safetensors_name(name, tensor->dtype) : name;
  }

 private:
  std::map<std::string, std::string> read_weight_map(const std::string& where) const {
    const nlohmann::json index = read_json(path());
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
      throw Error("expected an object \"weight_map\"", where);
    }
    std::map<std::string, std::string> map;
    for (const auto& [name, shard] : index["weight_map"].items()) {
      if (!shard.is_string()) {
        throw Error(fmt::format("the shard of \"{}\" is not a file name", printable(name)), where);
      }
      map[name] = shard.get<std::string>();
    }
    return map;
  }

  void add_shard(const std::filesystem::path& path, const std::set<std::string>& names,
                 const std::string& where) {
    if (!std::filesystem::is_regular_file(path)) {
      throw Error(
          fmt::format("names the shard \"{}\", which is not there", path.filename().string()),
          where, "the download is incomplete");
    }
    const bool torch = this->path().filename() == kTorchIndex;
    std::shared_ptr<const TensorFile> file;
    if (torch) {
      file = open_torch_archive(path);
    } else {
      file = open_safetensors(path);
    }
    std::set<std::string> missing = names;
    for (const TensorView& tensor : file->tensors()) {
      if (missing.erase(file->stored_name(tensor.name)) == 0) {
        throw Error(fmt::format("holds the tensor \"{}\", which the index does not put there",
                                printable(tensor.name)),
                    path.string());
      }
      add(tensor);
    }
    for (const std::string& name : missing) file->get(name);
    keep(std::move(file));
  }
};

}  // namespace

std::unique_ptr<TensorFile> open_tensor_file(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (looks_like_gguf(bytes)) return open_gguf(path);
  if (looks_like_torch_archive(bytes)) return open_torch_archive(path);
  if (bytes.size() > 8 && bytes[8] == std::byte{'{'}) return open_safetensors(path);
  throw Error(fmt::format("expected a safetensors, GGUF or PyTorch file, got {} bytes of another "
                          "kind",
                          bytes.size()),
              path.string(), bytes.empty() ? "the file is empty" : "");
}

std::unique_ptr<TensorFile> open_model_weights(const std::filesystem::path& folder) {
  const auto single = folder / "model.safetensors";
  const auto index = folder / kIndex;
  const auto torch = folder / "pytorch_model.bin", torch_index = folder / kTorchIndex;
  if (std::filesystem::exists(single)) return open_safetensors(single);
  if (std::filesystem::exists(index)) return std::make_unique<ShardedFile>(index);
  if (std::filesystem::exists(torch)) return open_torch_archive(torch);
  if (std::filesystem::exists(torch_index)) return std::make_unique<ShardedFile>(torch_index);
  throw Error(fmt::format("holds neither model.safetensors nor {} nor pytorch_model.bin nor {}",
                          kIndex, kTorchIndex),
              folder.string(), std::filesystem::exists(folder) ? "" : "the folder does not exist");
}

}  // namespace blip2
