#include "blip2/io/torch_archive_internal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/io/byte_reader.h"
#include "blip2/io/pickle_internal.h"
#include "blip2/io/utf8.h"
#include "blip2/io/zip.h"

namespace blip2 {
namespace {

using Kind = PickleValue::Kind;

constexpr std::size_t kMaxDepth = 64, kMaxEntries = 1u << 20, kMaxNameBytes = 64u << 20;

// The pickle of torch's magic number 0x1950a86a20f9469cfc6c, with which legacy files start.
constexpr unsigned char kLegacyMagic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                          0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e};
constexpr unsigned char kZipMagic[] = {'P', 'K', 3, 4};
constexpr std::int64_t kLegacyProtocol = 1001;

bool starts_with(std::span<const std::byte> bytes, std::span<const unsigned char> magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

// Flattens a pickle's containers into named leaves. Values may be shared or contain themselves, so
// depth, count and the names' total length are limited.
class Walker {
 public:
  Walker(const std::string& where) : where_(where) {}

  void walk(const PickleValue& value, const std::string& name, std::size_t depth = 0) {
    if (depth > kMaxDepth) throw Error("the pickle nests containers more than 64 deep", where_);
    name_bytes_ += name.size();
    if (++entries_ > kMaxEntries || name_bytes_ > kMaxNameBytes) {
      throw Error(fmt::format("the pickle unfolds to more than {} entries or {} bytes of names",
                              kMaxEntries, kMaxNameBytes),
                  where_);
    }
    if (value.kind == Kind::dict) return walk_dict(value, name, depth);
    if (value.kind == Kind::list || value.kind == Kind::tuple) {
      for (std::size_t i = 0; i < value.items.size(); ++i) {
        walk(*value.items[i], join(name, std::to_string(i)), depth + 1);
      }
    } else if (value.kind == Kind::tensor) {
      tensors.emplace_back(name, value.tensor);
    } else {
      scalars[name] = scalar(value);
    }
  }

  std::vector<std::pair<std::string, const PickledTensor*>> tensors;
  std::map<std::string, std::string> scalars;

 private:
  static std::string join(const std::string& outer, std::string_view key) {
    return outer.empty() ? std::string(key) : fmt::format("{}.{}", outer, key);
  }

  void walk_dict(const PickleValue& dict, const std::string& name, std::size_t depth) {
    for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      const PickleValue& key = *dict.items[i];
      if (key.kind != Kind::text && key.kind != Kind::integer) {
        throw Error("a dictionary's key is neither a string nor an integer", where_);
      }
      const std::string number = std::to_string(key.integer);
      walk(*dict.items[i + 1], join(name, key.kind == Kind::text ? key.text : number), depth + 1);
    }
  }

  static std::string scalar(const PickleValue& value) {
    switch (value.kind) {
      case Kind::none:
        return "None";
      case Kind::boolean:
        return value.integer ? "True" : "False";
      case Kind::integer:
        return std::to_string(value.integer);
      case Kind::number:
        return fmt::format("{}", value.number);
      case Kind::text:
        return printable(value.text, 200);
      case Kind::storage:
        return "a storage of " + std::to_string(value.storage.numel);
      default:
        return printable(value.text, 200);
    }
  }

  const std::string& where_;
  std::size_t entries_ = 0, name_bytes_ = 0;
};

bool is_contiguous(const PickledTensor& tensor) {
  std::int64_t stride = 1;
  for (std::size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != stride) return false;
    stride *= tensor.shape[i];
  }
  return true;
}

// Copies a strided view of `data` into row-major order; its bounds have been checked.
std::vector<std::byte> gather(const PickledTensor& tensor, const std::byte* data,
                              std::int64_t count, std::int64_t unit) {
  std::vector<std::byte> out(static_cast<std::size_t>(count * unit));
  std::vector<std::int64_t> index(tensor.shape.size());
  std::int64_t at = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(out.data() + i * unit, data + at * unit, static_cast<std::size_t>(unit));
    for (std::size_t d = index.size(); d-- > 0;) {
      at += tensor.strides[d];
      if (++index[d] < tensor.shape[d]) break;
      at -= index[d] * tensor.strides[d];
      index[d] = 0;
    }
  }
  return out;
}

// The index of the view's last element in its storage; Error if a number is out of range.
std::int64_t last_element(const PickledTensor& tensor, const std::string& where) {
  std::int64_t last = tensor.offset;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    std::int64_t reach = 0;
    if (tensor.strides[i] < 0 ||
        __builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      throw Error(fmt::format("strides [{}] of shape [{}] are out of range",
                              fmt::join(tensor.strides, ", "), fmt::join(tensor.shape, ", ")),
                  where);
    }
  }
  return last;
}

}  // namespace

bool looks_like_torch_archive(std::span<const std::byte> bytes) {
  return starts_with(bytes, kZipMagic) || starts_with(bytes, kLegacyMagic);
}

TorchArchive::TorchArchive(const std::filesystem::path& path) : TensorFile(path) {
  const auto file = MappedFile::open(path);
  keep(file);
  file_bytes_ = file->bytes().size();
  if (starts_with(file->bytes(), kZipMagic)) {
    read_zip(file->bytes());
  } else if (starts_with(file->bytes(), kLegacyMagic)) {
    read_legacy(file->bytes());
  } else {
    throw Error("expected a zip archive or a legacy stream that torch.save wrote", path.string(),
                "the file is empty, damaged or of another kind");
  }
}

// PREFIX/data.pkl beside PREFIX/data/KEY for each storage (torch's inline_container).
void TorchArchive::read_zip(std::span<const std::byte> bytes) {
  const std::string where = path().string();
  const auto entries = read_stored_zip(bytes, where);
  constexpr std::string_view kPickle = "/data.pkl";
  const auto found = std::ranges::find_if(
      entries, [&](const auto& entry) { return entry.first.ends_with(kPickle); });
  if (found == entries.end()) {
    throw Error("the archive holds no data.pkl", where, "torch.save did not write this file");
  }
  const std::string prefix = found->first.substr(0, found->first.size() - kPickle.size());
  const auto order = entries.find(prefix + "/byteorder");
  if (order != entries.end()) {
    ByteReader text(order->second.data, where, order->second.offset);
    if (text.text(text.remaining(), "the byte order") != "little") {
      throw Error("expected byte order \"little\"", where, "save the file on such a machine");
    }
  }
  ByteReader reader(found->second.data, where + ": data.pkl", found->second.offset);
  const Pickle pickle(reader);
  Storages storages;
  for (const auto& [key, storage] : pickle.storages()) {
    const auto entry = entries.find(fmt::format("{}/data/{}", prefix, key));
    if (entry != entries.end()) storages[key] = entry->second.data;
  }
  add_all(pickle, storages);
}

// Pickles of the magic number, the protocol, the machine, the object and the storage keys; then
// each storage's number of elements and bytes.
void TorchArchive::read_legacy(std::span<const std::byte> bytes) {
  ByteReader reader(bytes, path().string());
  reader.take(sizeof kLegacyMagic, "the magic number");
  const Pickle protocol(reader);
  if (protocol.root().kind != Kind::integer || protocol.root().integer != kLegacyProtocol) {
    reader.fail(fmt::format("expected torch.save's protocol {}", kLegacyProtocol));
  }
  const Pickle machine(reader);
  for (std::size_t i = 0; i + 1 < machine.root().items.size(); i += 2) {
    const PickleValue &key = *machine.root().items[i], &value = *machine.root().items[i + 1];
    if (key.text == "little_endian" && value.integer != 1) {
      reader.fail("expected a little-endian file");
    }
  }
  const Pickle pickle(reader);
  const Pickle keys(reader);
  if (keys.root().kind != Kind::list) reader.fail("expected a list of storage keys");
  Storages storages;
  for (const PickleValue* key : keys.root().items) {
    const auto known = pickle.storages().find(key->text);
    if (known == pickle.storages().end()) {
      reader.fail(fmt::format("no tensor uses the storage \"{}\"", printable(key->text)));
    }
    const auto numel = reader.read<std::int64_t>("a storage's number of elements");
    const std::int64_t unit = dtype_block(known->second.dtype).bytes;
    if (numel != known->second.numel || numel > INT64_MAX / unit) {
      reader.fail(fmt::format("storage \"{}\" has {} elements, expected {}", printable(key->text),
                              numel, known->second.numel));
    }
    storages[key->text] = reader.take(static_cast<std::uint64_t>(numel * unit), "a storage");
  }
  if (reader.remaining() > 0) {
    reader.fail(fmt::format("{} bytes follow the last storage", reader.remaining()),
                "the file is damaged");
  }
  add_all(pickle, storages);
}

void TorchArchive::add_all(const Pickle& pickle, const Storages& storages) {
  const std::string where = path().string();
  for (const auto& [key, storage] : pickle.storages()) {
    const auto found = storages.find(key);
    const std::vector<std::int64_t> shape{storage.numel};
    if (found == storages.end() || tensor_bytes(storage.dtype, shape) != found->second.size()) {
      throw Error(
          fmt::format("storage \"{}\": expected {} elements of {}, got {}", printable(key),
                      storage.numel, dtype_name(storage.dtype),
                      found == storages.end() ? "no such entry"
                                              : std::to_string(found->second.size()) + " bytes"),
          where, "the file is truncated or damaged");
    }
  }
  Walker walker(where);
  walker.walk(pickle.root(), "");
  scalars_ = std::move(walker.scalars);
  for (auto& [name, tensor] : walker.tensors) {
    add_tensor(std::move(name), *tensor, storages.at(tensor->storage.key));
  }
}

void TorchArchive::add_tensor(std::string name, const PickledTensor& tensor,
                              std::span<const std::byte> storage) {
  const std::string where = fmt::format("{}: tensor \"{}\"", path().string(), printable(name));
  const auto bytes = tensor_bytes(tensor.storage.dtype, tensor.shape);
  if (!bytes) {
    throw Error(fmt::format("shape [{}] is out of range", fmt::join(tensor.shape, ", ")), where);
  }
  TensorView view{std::move(name), tensor.storage.dtype, tensor.shape, {}};
  if (*bytes == 0) return add(std::move(view));
  const std::int64_t unit = dtype_block(tensor.storage.dtype).bytes;
  const std::int64_t last = last_element(tensor, where);
  if (tensor.offset < 0 || last >= tensor.storage.numel) {
    throw Error(fmt::format("elements {} to {} do not lie in a storage of {}", tensor.offset, last,
                            tensor.storage.numel),
                where);
  }
  const auto data = storage.subspan(static_cast<std::size_t>(tensor.offset * unit));
  if (is_contiguous(tensor)) {
    view.data = data.first(*bytes);
  } else {
    copied_ += *bytes;
    if (*bytes > storage.size() || copied_ > file_bytes_) {
      throw Error("views of one storage unfold to more bytes than the file has", where,
                  "call contiguous() on expanded tensors before torch.save");
    }
    view.data = keep(gather(tensor, data.data(), view.numel(), unit));
  }
  add(std::move(view));
}

std::unique_ptr<TorchArchive> open_torch_archive(const std::filesystem::path& path) {
  return std::make_unique<TorchArchive>(path);
}

}  // namespace blip2
