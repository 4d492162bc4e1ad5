#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <vector>

#include "blip2/nn/kernels/block_layout.h"
#include "blip2/nn/kernels/tables_internal.h"

namespace {

using namespace blip2;

struct Free {
  void operator()(std::byte* p) const { std::free(p); }
};

// Aligned to lines, and exactly as long as it says.
std::unique_ptr<std::byte, Free> lines(std::int64_t bytes) {
  return std::unique_ptr<std::byte, Free>(
      static_cast<std::byte*>(std::aligned_alloc(64, static_cast<std::size_t>(bytes))));
}

// What a matrix in blocks becomes when it is laid together is what io/ reads of the file.
void check_widened(const BlockMatrixView& matrix, std::span<const std::byte> rows) {
  std::vector<float> ours(static_cast<std::size_t>(matrix.outs * matrix.width)), file = ours;
  plain_block_kernels().f32->widen(matrix, 0, matrix.outs, ours.data());
  to_float32({"", matrix.type, {matrix.outs, matrix.width}, rows}, file);
  for (std::size_t i = 0; i < file.size(); ++i) {
    if (std::abs(ours[i] - file[i]) > 1e-5f * std::abs(file[i]) + 1e-2f) std::abort();
  }
}

void multiply(const BlockMatrixView& matrix, std::int64_t rows) {
  const std::vector<float> x(static_cast<std::size_t>(rows * matrix.width), 0.5f);
  std::vector<ActivationBlock> quantised(x.size() / kBlockWidth);
  std::vector<float> y(static_cast<std::size_t>(rows * matrix.outs));
  const auto& kernels = *plain_block_kernels().f32;
  kernels.quantise(x.data(), rows, matrix.width, 0, rows, quantised.data());
  kernels.multiply(matrix, quantised.data(), rows, 0, (matrix.outs + kGroupOuts - 1) / kGroupOuts,
                   Store::value_f32, y.data(), matrix.outs);
}

}  // namespace

// Any bytes as blocks of any type: the first two choose type, rows and width.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr DType types[] = {DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1,   DType::q8_0,
                             DType::q4_k, DType::q5_k, DType::q6_k, DType::iq4_nl, DType::mxfp4};
  if (size < 2) return 0;
  const DType type = types[data[0] % std::size(types)];
  const DTypeBlock block = dtype_block(type);
  const std::int64_t across = 1 + data[1] % 3, bytes = across * block.bytes;
  const std::int64_t outs = static_cast<std::int64_t>(size - 2) / bytes;
  if (outs == 0) return 0;
  const std::int64_t width = across * block.elements;
  const std::vector<std::byte> rows(reinterpret_cast<const std::byte*>(data) + 2,
                                    reinterpret_cast<const std::byte*>(data) + 2 + outs * bytes);
  const auto packed = lines(packed_bytes(type, outs, width));
  const std::int64_t bad = pack_groups(type, rows.data(), outs, width, {}, 0,
                                       (outs + kGroupOuts - 1) / kGroupOuts, packed.get());
  if ((bad < 0) != has_finite_scales(type, rows)) std::abort();
  const BlockMatrixView matrix{type, outs, width, packed.get()};
  multiply(matrix, 1 + data[1] % 11);
  if (bad < 0) check_widened(matrix, rows);
  return 0;
}
