#include "blip2/nn/block_matrix.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "blip2/base/allocation.h"
#include "blip2/base/error.h"
#include "blip2/io/quantise.h"
#include "blip2/nn/element_type.h"
#include "blip2/nn/kernels/block_kernels_internal.h"

namespace blip2 {
namespace {

using Int = std::int64_t;

// Memory for a matrix, which every step reads from end to end: huge pages spare the processor the
// search for each small one, and loading the clearing of them one by one.
at::Tensor memory_of(Int bytes) {
  auto pages = std::make_shared<Pages>(zeroed_pages(static_cast<std::size_t>(bytes)));
  void* const begin = pages->get();
  return at::from_blob(
      begin, {bytes}, [pages = std::move(pages)](void*) {}, at::kByte);
}

std::byte* packed_bytes_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.mutable_data_ptr());
}

}  // namespace

bool is_block_type(DType type) {
  return block_layout(type).has_value();
}

void refuse_scales(const TensorView& tensor, const std::string& file) {
  throw Error(fmt::format("{} has a scale that is not finite", dtype_name(tensor.dtype)),
              file + (file.empty() ? "" : ": ") + tensor.name, "the file is damaged");
}

BlockMatrix::BlockMatrix(const TensorView& tensor, std::span<const std::int32_t> rows,
                         const std::string& file)
    : type_(tensor.dtype), outs_(tensor.shape.at(0)), width_(tensor.shape.at(1)) {
  TORCH_CHECK(is_block_type(type_) && tensor.shape.size() == 2, tensor.name, ": no blocks");
  packed_ = memory_of(packed_bytes(type_, outs_, width_));
  const Int groups = (outs_ + kGroupOuts - 1) / kGroupOuts;
  std::atomic<Int> bad = -1;
  at::parallel_for(0, groups, 16, [&](Int begin, Int end) {
    const Int out = pack_groups(type_, tensor.data.data(), outs_, width_, rows, begin, end,
                                packed_bytes_of(packed_));
    if (out >= 0) bad = out;
  });
  if (bad >= 0) refuse_scales(tensor, file);
}

BlockMatrixView BlockMatrix::view() const {
  return {type_, outs_, width_, static_cast<const std::byte*>(packed_.const_data_ptr())};
}

void BlockMatrix::widen_into(at::Tensor& to) const {
  TORCH_CHECK(to.is_contiguous() && to.sizes() == at::IntArrayRef({outs_, width_}));
  const Int groups = (outs_ + kGroupOuts - 1) / kGroupOuts;
  with_element(to.scalar_type(), [&]<typename T>() {
    T* const y = static_cast<T*>(to.mutable_data_ptr());
    at::parallel_for(0, groups, 1, [&](Int begin, Int end) {
      const Int first = begin * kGroupOuts, last = std::min(end * kGroupOuts, outs_);
      block_kernels<T>().widen(view(), first, last, y + first * width_);
    });
  });
}

std::vector<std::byte> quantise_matrix(const at::Tensor& rows, DType type) {
  const auto width = static_cast<std::size_t>(rows.size(1));
  const DTypeBlock block = dtype_block(type);
  const std::size_t size =
      width / static_cast<std::size_t>(block.elements) * static_cast<std::size_t>(block.bytes);
  const float* from = rows.const_data_ptr<float>();
  std::vector<std::byte> bytes(static_cast<std::size_t>(rows.size(0)) * size);
  at::parallel_for(0, rows.size(0), 16, [&](Int begin, Int end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      const auto row = quantise(type, {from + i * width, width});
      std::copy(row.begin(), row.end(), bytes.begin() + static_cast<std::ptrdiff_t>(i * size));
    }
  });
  return bytes;
}

template <typename T>
ActivationRows quantise_rows(const T* x, Int rows, Int width) {
  const Int blocks = width / kBlockWidth;
  auto y =
      std::make_unique_for_overwrite<ActivationBlock[]>(static_cast<std::size_t>(rows * blocks));
  constexpr Int worth_a_thread = 512;  // blocks
  at::parallel_for(0, rows * blocks, worth_a_thread, [&](Int begin, Int end) {
    block_kernels<T>().quantise(x, rows, width, begin, end, y.get());
  });
  return y;
}

template ActivationRows quantise_rows(const float*, Int, Int);
template ActivationRows quantise_rows(const Bf16*, Int, Int);
template ActivationRows quantise_rows(const F16*, Int, Int);

}  // namespace blip2
