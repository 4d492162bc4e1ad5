#include "blip2/nn/word_table.h"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "blip2/nn/block_matrix.h"
#include "blip2/nn/element_type.h"
#include "blip2/nn/kernels/block_layout.h"

namespace blip2 {

using Int = std::int64_t;

WordTable::WordTable(const TensorView& tensor, std::shared_ptr<const TensorFile> file)
    : type_(tensor.dtype), width_(tensor.shape.at(1)) {
  const Int rows = tensor.shape.at(0);
  if (!has_finite_scales(type_, tensor.data)) {
    refuse_scales(tensor, file ? file->path().string() : "");
  }
  blocks_ = at::from_blob(
      const_cast<std::byte*>(tensor.data.data()),
      {rows, rows > 0 ? static_cast<Int>(tensor.data.size()) / rows : 0},
      [file = std::move(file)](void*) {}, at::kByte);
}

void WordTable::read(Int i, float* to) const {
  if (blocks_.defined()) {
    const auto bytes = static_cast<std::size_t>(blocks_.size(1));
    const auto* row = static_cast<const std::byte*>(blocks_.const_data_ptr()) + i * blocks_.size(1);
    to_float32({"", type_, {width_}, {row, bytes}}, {to, static_cast<std::size_t>(width_)});
    return multiply<float>(to, width_);
  }
  const Int width = values.size(1);
  with_element(values.scalar_type(), [&]<typename T>() {
    std::fill_n(to, width, 0.0f);
    kernels<T>().add(to, static_cast<const T*>(values.const_data_ptr()) + i * width, to, width);
    multiply<T>(to, width);
  });
}

template <typename T>
void WordTable::multiply(float* row, Int width) const {
  if (scale == 1.0f) return;
  for (Int i = 0; i < width; ++i) row[i] *= scale;
  if constexpr (!std::is_same_v<T, float>) {
    std::vector<T> rounded(static_cast<std::size_t>(width));
    kernels<T>().narrow(row, rounded.data(), width);
    std::fill_n(row, width, 0.0f);
    kernels<T>().add(row, rounded.data(), row, width);
  }
}

at::Tensor WordTable::select(const at::Tensor& ids) const {
  if (!blocks_.defined()) {
    const at::Tensor rows = values.index_select(0, ids);
    return (scale == 1.0f ? rows : rows * scale).to(at::kFloat);
  }
  at::Tensor rows = at::empty({ids.numel(), width_}, at::kFloat);
  const at::Tensor list = ids.contiguous();
  for (Int i = 0; i < ids.numel(); ++i) {
    const Int id = list.const_data_ptr<Int>()[i];
    TORCH_CHECK_INDEX(id >= 0 && id < this->rows(), "row ", id, " of ", this->rows());
    read(id, rows.mutable_data_ptr<float>() + i * width_);
  }
  return rows;
}

}  // namespace blip2
