// Products with matrices in blocks: every type by every instruction set that the machine has,
// against the file's numbers in f64. tests/parity/test_blocks.py holds them to PyPI gguf.
#include "blip2/nn/kernels/block_kernels_internal.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/processor.h"
#include "blip2/nn/block_matrix.h"
#include "blip2/nn/kernels/emulated_tiles.h"
#include "blip2/nn/kernels/kernel_check.h"
#include "blip2/nn/kernels/tables_internal.h"

namespace blip2 {
namespace {

using kernel_check::data;
using kernel_check::exact;
using kernel_check::Int;
using kernel_check::random;
using kernel_check::Tensor;

constexpr DType kTypes[] = {DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1,   DType::q8_0,
                            DType::q4_k, DType::q5_k, DType::q6_k, DType::iq4_nl, DType::mxfp4};
// No multiples of a group or a tile; a width of more blocks than the tiles' kernels open at once.
constexpr Int kOutCount = 43, kAcross = 768, kRowsOfX = 37;

// A file's matrix of random bytes with scales of either sign around 0.01.
struct FileMatrix {
  DType type;
  Int outs, width;
  std::vector<std::byte> bytes;
  Tensor values;  // [outs, width] f32

  TensorView view() const { return {"blk.0.w", type, {outs, width}, bytes}; }
};

FileMatrix file_matrix(DType type, Int outs = kOutCount, Int width = kAcross) {
  const DTypeBlock block = dtype_block(type);
  const Int count = outs * width / block.elements;
  const Tensor noise = random<float>({count * block.bytes}, 1, 1000).to(at::kInt).to(at::kByte);
  const Tensor scales = random<F16>({count, 2}, 2, 0.01);
  FileMatrix matrix{type, outs, width, {}, {}};
  const auto* from = static_cast<const std::byte*>(noise.const_data_ptr());
  matrix.bytes.assign(from, from + noise.numel());
  for (Int i = 0; i < count; ++i) {
    std::byte* const to = matrix.bytes.data() + i * block.bytes;
    if (type == DType::mxfp4) {
      *to = static_cast<std::byte>(117 + i % 9);  // 2^-11 to 2^-3
      continue;
    }
    const bool minimum =
        type == DType::q4_1 || type == DType::q5_1 || type == DType::q4_k || type == DType::q5_k;
    std::memcpy(type == DType::q6_k ? to + 208 : to, data<std::byte>(scales) + i * 4,
                minimum ? 4 : 2);
  }
  matrix.values = at::empty({outs, width});
  to_float32(matrix.view(), {data<float>(matrix.values), static_cast<std::size_t>(outs * width)});
  return matrix;
}

// The machine's, and AMX's on emulated tiles where it can run the rest of them.
std::vector<BlockKernelSet> tested_kernels() {
  std::vector<BlockKernelSet> sets = runnable_block_kernels();
#if defined(__x86_64__)
  if (processor().avx512_vnni) sets.push_back(emulated_amx_block_kernels());
#endif
  return sets;
}

// check(its kernels) for each instruction set in f32, bf16 and f16.
template <typename Check>
void on_every_set(const Check& check) {
  for (const BlockKernelSet& set : tested_kernels()) {
    SCOPED_TRACE(set.name);
    check(*set.f32);
    check(*set.bf16);
    check(*set.f16);
  }
}

template <typename T>
std::vector<ActivationBlock> quantised(const BlockKernels<T>& k, const Tensor& x) {
  std::vector<ActivationBlock> rows(static_cast<std::size_t>(x.numel() / kBlockWidth));
  k.quantise(data<T>(x), x.size(0), x.size(1), 0, x.numel() / kBlockWidth, rows.data());
  return rows;
}

// What the rows in eight bits stand for, in f64.
Tensor meant(const std::vector<ActivationBlock>& rows, Int count, Int width) {
  Tensor values = at::empty({count, width}, at::kDouble);
  const Int blocks = width / kBlockWidth;
  for (Int row = 0; row < count; ++row) {
    for (Int i = 0; i < width; ++i) {
      const auto at = activation_index(row, count, i / kBlockWidth, blocks);
      const ActivationBlock& block = rows[static_cast<std::size_t>(at)];
      data<double>(values)[row * width + i] =
          static_cast<double>(block.q[i % kBlockWidth]) * static_cast<double>(block.scale);
    }
  }
  return values;
}

Int groups_of(const BlockMatrix& matrix) {
  return (matrix.outs() + kGroupOuts - 1) / kGroupOuts;
}

TEST(BlockKernels, SetsAreTheMachines) {
  const auto sets = runnable_block_kernels();
  const std::size_t count =
      1u + processor().avx2 + processor().avx512 + processor().avx512_vnni + processor().amx_int8;
  EXPECT_EQ(sets.size(), count);
  EXPECT_STREQ(choose_block_kernels(sets, "plain").name, "plain");
  EXPECT_STREQ(choose_block_kernels(sets, "avx2").name, processor().avx2 ? "avx2" : "plain");
  EXPECT_STREQ(choose_block_kernels(sets, "amx").name, sets.back().name);
  EXPECT_STREQ(choose_block_kernels({sets[0]}, "avx2").name, "plain");
}

TEST(BlockKernels, TilesAreUsedIfTheyAreAllowed) {
  std::vector<BlockKernelSet> sets;
  for (const char* name : {"plain", "avx2", "avx512", "avx512-vnni", "amx"}) {
    sets.push_back({name, nullptr, nullptr, nullptr});
  }
  EXPECT_STREQ(choose_block_kernels(sets, "amx").name, "amx");
  EXPECT_STREQ(choose_block_kernels(sets, "avx512-bf16").name, "avx512-vnni");
  EXPECT_STREQ(choose_block_kernels(sets, "avx512").name, "avx512-vnni");
  EXPECT_STREQ(choose_block_kernels(sets, "avx2").name, "avx2");
}

TEST(BlockKernels, OneBlockByHand) {
  // Q4_0: scale 0.5; codes 8 are zeros but the first, 10, and the eighteenth, 5.
  std::vector<std::byte> bytes(18, std::byte{0x88});
  bytes[0] = std::byte{0x00}, bytes[1] = std::byte{0x38};
  bytes[2] = std::byte{0x8a}, bytes[3] = std::byte{0x58};
  const BlockMatrix matrix(TensorView{"w", DType::q4_0, {1, 32}, bytes});
  Tensor x = at::zeros({1, 32});
  x[0][0] = 127.0f, x[0][17] = 2.4f;  // 2 in eight bits
  on_every_set([&]<typename T>(const BlockKernels<T>& k) {
    const auto rows = quantised(k, x.to(kernel_check::type_of<T>()));
    float y = -1;
    k.multiply(matrix.view(), rows.data(), 1, 0, 1, Store::value_f32, &y, 1);
    EXPECT_EQ(y, 127 * 1.0f + 2 * -1.5f);
  });
}

TEST(BlockKernels, ActivationsAreTheNearestToEven) {
  std::vector<ActivationBlock> first;
  const Tensor x = random<float>({kRowsOfX, kAcross}, 3) * at::linspace(0, 4, kAcross).exp();
  x[2].zero_();
  for (const BlockKernelSet& set : tested_kernels()) {
    const auto rows = quantised(*set.f32, x);
    const Tensor most = x.view({kRowsOfX, -1, 32}).abs().amax(-1, true);
    const Tensor inverse = at::where(most > 0, 127 / most, 0);
    const Tensor expected = (x.view({kRowsOfX, -1, 32}) * inverse).round() * (most / 127);
    EXPECT_LT((meant(rows, kRowsOfX, kAcross) - exact(expected).view({kRowsOfX, kAcross}))
                  .abs()
                  .max()
                  .item<double>(),
              1e-4)
        << set.name;
    if (first.empty()) first = rows;
    EXPECT_EQ(std::memcmp(first.data(), rows.data(), rows.size() * sizeof(rows[0])), 0) << set.name;
  }
}

template <typename T>
void check_product(const BlockKernels<T>& k, const FileMatrix& file) {
  const BlockMatrix matrix(file.view());
  const Tensor x = random<T>({kRowsOfX, kAcross}, 4);
  const auto rows = quantised(k, x);
  const Tensor from = meant(rows, kRowsOfX, kAcross), weight = exact(file.values);
  const Tensor expected = from.mm(weight.t()), size = from.abs().mm(weight.abs().t());
  const Int stride = kOutCount + 2, cut = 1;
  const Tensor wide = at::ones({kRowsOfX, stride}), sum = at::ones({kRowsOfX, stride}),
               value = at::ones({kRowsOfX, stride}, x.dtype());
  for (const auto& [store, y] :
       {std::pair{Store::value, value}, {Store::value_f32, wide}, {Store::add_f32, sum}}) {
    k.multiply(matrix.view(), rows.data(), kRowsOfX, 0, cut, store, y.data_ptr(), stride);
    k.multiply(matrix.view(), rows.data(), kRowsOfX, cut, groups_of(matrix), store, y.data_ptr(),
               stride);
    EXPECT_TRUE((y.narrow(1, kOutCount, 2) == 1).all().template item<bool>()) << "behind the outs";
  }
  const auto off = [&](const Tensor& y, const Tensor& e) {
    return ((exact(y.narrow(1, 0, kOutCount)) - e).abs() / size).max().template item<double>();
  };
  EXPECT_LT(off(wide, expected), 1e-6);
  EXPECT_LT(off(sum, 1 + expected), 1e-5);
  EXPECT_TRUE(
      value.narrow(1, 0, kOutCount).equal(wide.narrow(1, 0, kOutCount).to(x.scalar_type())));
}

TEST(BlockKernels, ProductsAreTheFilesNumbers) {
  for (const DType type : kTypes) {
    SCOPED_TRACE(dtype_name(type));
    const FileMatrix file = file_matrix(type);
    on_every_set([&]<typename T>(const BlockKernels<T>& k) { check_product(k, file); });
  }
}

// Whatever the number of rows: the tiles of every kernel are met, with and without rows beside.
TEST(BlockKernels, RowsDoNotDependOnEachOther) {
  for (const DType type : kTypes) {
    SCOPED_TRACE(dtype_name(type));
    const BlockMatrix matrix(file_matrix(type).view());
    for (const BlockKernelSet& set : tested_kernels()) {
      SCOPED_TRACE(set.name);
      const Tensor x = random<float>({kRowsOfX, kAcross}, 5),
                   alone = at::empty({kRowsOfX, kOutCount});
      for (Int row = 0; row < kRowsOfX; ++row) {
        const auto one = quantised(*set.f32, x.narrow(0, row, 1));
        set.f32->multiply(matrix.view(), one.data(), 1, 0, groups_of(matrix), Store::value_f32,
                          alone[row].data_ptr(), kOutCount);
      }
      for (const Int count : {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 23, 24, 37}) {
        const auto rows = quantised(*set.f32, x.narrow(0, 0, count));
        const Tensor y = at::empty({count, kOutCount});
        set.f32->multiply(matrix.view(), rows.data(), count, 0, groups_of(matrix), Store::value_f32,
                          y.data_ptr(), kOutCount);
        EXPECT_TRUE(y.equal(alone.narrow(0, 0, count))) << count << " rows";
      }
    }
  }
}

// From AVX2 on, which multiplies and adds in one rounding, products have the same bits.
TEST(BlockKernels, InstructionSetsGiveTheSameBits) {
  for (const DType type : kTypes) {
    const BlockMatrix matrix(file_matrix(type).view());
    const auto rows = quantised(*plain_block_kernels().f32, random<float>({kRowsOfX, kAcross}, 4));
    Tensor first;
    for (const BlockKernelSet& set : tested_kernels()) {
      if (std::string(set.name) == "plain") continue;
      const Tensor y = at::empty({kRowsOfX, kOutCount});
      set.f32->multiply(matrix.view(), rows.data(), kRowsOfX, 0, groups_of(matrix),
                        Store::value_f32, y.data_ptr(), kOutCount);
      if (!first.defined()) first = y;
      EXPECT_EQ(std::memcmp(y.data_ptr(), first.data_ptr(), y.nbytes()), 0)
          << dtype_name(type) << " by " << set.name;
    }
  }
}

#if defined(__x86_64__)
// [rows, outs] of x [rows, width], added to ones with Store::add_f32.
template <typename T>
Tensor product(const BlockKernels<T>& k, const BlockMatrix& matrix, const Tensor& x, Store store) {
  const auto rows = quantised(k, x.to(kernel_check::type_of<T>()));
  const Tensor y = at::ones({x.size(0), matrix.outs()},
                            store == Store::value ? kernel_check::type_of<T>() : at::kFloat);
  k.multiply(matrix.view(), rows.data(), x.size(0), 0, groups_of(matrix), store, y.data_ptr(),
             matrix.outs());
  return y;
}

template <typename T>
void expect_vnni_bits(const BlockKernels<T>& tiles, const BlockKernels<T>& vnni,
                      const BlockMatrix& matrix, const Tensor& x) {
  for (const Store store : {Store::value, Store::value_f32, Store::add_f32}) {
    const Tensor y = product(tiles, matrix, x, store), same = product(vnni, matrix, x, store);
    EXPECT_EQ(std::memcmp(y.data_ptr(), same.data_ptr(), y.nbytes()), 0)
        << x.sizes() << " into " << y.scalar_type() << ", " << static_cast<int>(store);
    EXPECT_TRUE(EmulatedTiles::released());
  }
}

// Odd numbers of groups, rows beside tiles, more rows than one pass takes, passes of few rows.
TEST(BlockKernels, TilesGiveTheBitsOfVnni) {
  if (!processor().avx512_vnni) GTEST_SKIP() << "this processor has no VNNI";
  const BlockKernelSet tiles = emulated_amx_block_kernels(), vnni = avx512_vnni_block_kernels();
  for (const DType type : kTypes) {
    SCOPED_TRACE(dtype_name(type));
    for (const auto& [rows, outs, width] : {std::array<Int, 3>{16, 16, 256},
                                            {21, 43, 768},
                                            {40, 32, 1280},
                                            {283, 17, 256},
                                            {24, 5, 33024}}) {
      const BlockMatrix matrix(file_matrix(type, outs, width).view());
      const Tensor x = random<float>({rows, width}, 7);
      expect_vnni_bits(*tiles.f32, *vnni.f32, matrix, x);
      expect_vnni_bits(*tiles.bf16, *vnni.bf16, matrix, x);
      expect_vnni_bits(*tiles.f16, *vnni.f16, matrix, x);
    }
  }
}
#endif

TEST(BlockKernels, NotFiniteExponentsAreFound) {
  FileMatrix file = file_matrix(DType::mxfp4);
  file.bytes[17 * 20] = std::byte{255};
  EXPECT_FALSE(has_finite_scales(DType::mxfp4, file.bytes));
  EXPECT_THROW(BlockMatrix(file.view()), Error);
}

TEST(BlockKernels, WidenGivesTheFilesNumbers) {
  for (const DType type : kTypes) {
    SCOPED_TRACE(dtype_name(type));
    const FileMatrix file = file_matrix(type);
    const BlockMatrix matrix(file.view());
    on_every_set([&]<typename T>(const BlockKernels<T>& k) {
      const Tensor y = at::empty({20, kAcross}, kernel_check::type_of<T>());
      k.widen(matrix.view(), 10, 30, data<T>(y));
      kernel_check::expect_close<T>(y, exact(file.values.narrow(0, 10, 20)), "widened");
    });
  }
}

TEST(BlockKernels, NotFiniteActivationsMakeTheirRowNan) {
  const BlockMatrix matrix(file_matrix(DType::q5_k).view());
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    for (const BlockKernelSet& set : tested_kernels()) {
      const Tensor x = random<float>({19, kAcross}, 6), y = at::empty({19, kOutCount});
      x[1][77] = bad;
      const auto rows = quantised(*set.f32, x);
      set.f32->multiply(matrix.view(), rows.data(), 19, 0, groups_of(matrix), Store::value_f32,
                        y.data_ptr(), kOutCount);
      EXPECT_TRUE(y[1].isnan().all().item<bool>()) << set.name;
      EXPECT_EQ(y.isnan().sum().item<Int>(), kOutCount) << set.name;
    }
  }
}

}  // namespace
}  // namespace blip2
