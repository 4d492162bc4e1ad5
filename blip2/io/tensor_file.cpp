#include "blip2/io/tensor_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/nearest.h"
#include "blip2/io/utf8.h"

namespace blip2 {

TensorFile::~TensorFile() = default;

const TensorView* TensorFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const TensorView& TensorFile::get(std::string_view name) const {
  if (const TensorView* tensor = find(name)) return *tensor;
  std::vector<std::string> names;
  for (const TensorView& tensor : tensors_) names.push_back(tensor.name);
  const std::string near = nearest_match(name, names);
  throw Error(fmt::format("has no tensor \"{}\" among its {}", name, tensors_.size()),
              path_.string(), near.empty() ? "" : fmt::format("did you mean \"{}\"?", near));
}

void TensorFile::add(TensorView tensor) {
  if (!is_utf8(tensor.name)) throw Error("a tensor's name is not valid UTF-8", path_.string());
  if (!index_.emplace(tensor.name, tensors_.size()).second) {
    throw Error(fmt::format("holds the tensor \"{}\" twice", tensor.name), path_.string());
  }
  const std::int64_t unit = dtype_alignment(tensor.dtype);
  if (reinterpret_cast<std::uintptr_t>(tensor.data.data()) % static_cast<std::uintptr_t>(unit)) {
    tensor.data = keep(std::vector(tensor.data.begin(), tensor.data.end()));
  }
  tensors_.push_back(std::move(tensor));
}

std::span<const std::byte> TensorFile::keep(std::vector<std::byte> bytes) {
  const auto owner = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  copies_.push_back(owner);
  return *owner;
}

void TensorFile::refuse(const std::vector<std::string>& faults, std::string_view part) const {
  constexpr std::size_t kListed = 4;  // of a hundred that one wrong size gives
  if (faults.empty()) return;
  const std::size_t count = faults.size(), shown = std::min(count, kListed);
  std::string message = fmt::format(
      "{} not fit the {}: {}", count == 1 ? "1 tensor does" : fmt::format("{} tensors do", count),
      part, fmt::join(faults.begin(), faults.begin() + static_cast<long>(shown), "; "));
  if (count > shown) message += fmt::format("; and {} more", count - shown);
  throw Error(message, path_.string(),
              "check that the configuration and the weights belong together");
}

void TensorFile::release(const TensorView& tensor) const {
  for (const auto& map : maps_) map->release(tensor.data);
  for (const auto& file : files_) file->release(tensor);
}

}  // namespace blip2
