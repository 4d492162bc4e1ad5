#include "blip2/nn/block_matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "blip2/base/error.h"
#include "blip2/nn/linear.h"
#include "blip2/nn/word_table.h"

namespace blip2 {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Q8_0 rows of 64: scale 1 / 8, element i of row r is r + i % 5 - 2.
std::vector<std::byte> eight_bit_rows(int rows) {
  std::vector<std::byte> bytes;
  for (int block = 0; block < rows * 2; ++block) {
    bytes.push_back(std::byte{0x00}), bytes.push_back(std::byte{0x30});
    for (int i = 0; i < 32; ++i) {
      bytes.push_back(static_cast<std::byte>(block / 2 + (block % 2 * 32 + i) % 5 - 2));
    }
  }
  return bytes;
}

at::Tensor eight_bit_values(int rows) {
  const at::Tensor row = at::arange(rows).view({rows, 1}), i = at::arange(64).view({1, 64});
  return (row + i.remainder(5) - 2).to(at::kFloat) / 8;
}

TensorView view_of_rows(const std::vector<std::byte>& bytes, int rows) {
  return {"blk.7.attn_q.weight", DType::q8_0, {rows, 64}, bytes};
}

TEST(BlockMatrix, WidensToItsNumbersInTheOrderOfRows) {
  const auto bytes = eight_bit_rows(20);
  std::vector<std::int32_t> order;
  for (int i = 0; i < 20; ++i) order.push_back(i * 7 % 20);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    at::Tensor got = at::empty({20, 64}, type);
    BlockMatrix(view_of_rows(bytes, 20)).widen_into(got);
    EXPECT_TRUE(got.to(at::kFloat).equal(eight_bit_values(20)));
    BlockMatrix(view_of_rows(bytes, 20), order).widen_into(got);
    EXPECT_TRUE(got.to(at::kFloat).equal(eight_bit_values(20).index_select(0, at::tensor(order))));
  }
}

TEST(BlockMatrix, RefusesScalesThatAreNotFinite) {
  auto bytes = eight_bit_rows(20);
  bytes[34 * 13 + 1] = std::byte{0x7c};
  const auto refusal = AllOf(HasSubstr("blk.7.attn_q.weight"), HasSubstr("not finite"));
  EXPECT_THAT([&] { BlockMatrix(view_of_rows(bytes, 20)); }, ThrowsMessage<Error>(refusal));
  EXPECT_THAT([&] { WordTable(view_of_rows(bytes, 20), nullptr); }, ThrowsMessage<Error>(refusal));
}

TEST(WordTable, ReadsRowsInBlocksAndPlainOnes) {
  const auto bytes = eight_bit_rows(20);
  const WordTable blocks(view_of_rows(bytes, 20), nullptr);
  WordTable plain;
  plain.values = eight_bit_values(20).to(at::kBFloat16);
  const at::Tensor ids = at::tensor({3, 19, 0, 3}, at::kLong);
  const at::Tensor expected = eight_bit_values(20).index_select(0, ids);
  for (const WordTable* table : {&blocks, static_cast<const WordTable*>(&plain)}) {
    EXPECT_EQ(table->rows(), 20);
    EXPECT_TRUE(table->select(ids).equal(expected));
    at::Tensor row = at::empty({64});
    table->read(19, row.mutable_data_ptr<float>());
    EXPECT_TRUE(row.equal(expected[1]));
  }
  EXPECT_THROW(blocks.select(at::tensor({20}, at::kLong)), c10::Error);
}

// Two matrices in blocks and one in f32 side by side, as a file may mix them.
TEST(LinearInBlocks, IsTheProductOfAllItsParts) {
  const auto bytes = eight_bit_rows(20);
  Linear linear;
  const at::Tensor bias = at::arange(20, at::kFloat), plain = at::full({3, 64}, 0.5f);
  for (const at::Tensor& b : {bias, bias + 1}) {
    linear.parts.push_back({{}, b, BlockMatrix(view_of_rows(bytes, 20))});
  }
  linear.parts.push_back({plain, at::zeros({3})});
  linear.hold(MatrixForm::blocks);
  EXPECT_EQ(linear.ins(), 64);
  EXPECT_EQ(linear.outs(), 43);
  const at::Tensor whole = at::cat({eight_bit_values(20), eight_bit_values(20), plain});
  EXPECT_TRUE(linear.matrix(at::kFloat).equal(whole));
  // Whole numbers up to 127 are exact in eight bits.
  at::Tensor x = at::arange(64, at::kFloat).repeat({9, 1});
  x.select(1, 0).fill_(127), x.select(1, 40).fill_(-127);
  const at::Tensor expected = at::linear(x, whole, at::cat({bias, bias + 1, at::zeros({3})}));
  EXPECT_TRUE(at::allclose(linear.each_row(x), expected, 1e-6, 1e-4));
  EXPECT_TRUE(at::allclose(linear(x), expected, 1e-6, 1e-4));
  at::Tensor y = at::empty({9, 43}), dx = at::empty({9, 64});
  linear.multiply_into(x, y);
  EXPECT_TRUE(at::allclose(y, expected, 1e-6, 1e-4));
  linear.gradient_into(y, dx);
  EXPECT_TRUE(at::allclose(dx, y.mm(whole), 1e-5, 1e-2));
}

}  // namespace
}  // namespace blip2
