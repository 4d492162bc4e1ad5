#include "blip2/language/block_choice_internal.h"

#include <gtest/gtest.h>

#include "blip2/language/gguf_tensors_internal.h"

namespace blip2 {
namespace {

DType choice(DType wanted, TensorRole role, std::int64_t width, std::int64_t layer = -1,
             std::int64_t layers = 0) {
  return block_choice(wanted, {role, layer, layers, width});
}

TEST(BlockChoice, MixesAsLlamaCpp) {
  EXPECT_EQ(choice(DType::q4_k, TensorRole::matrix, 2560, 3, 32), DType::q4_k);
  EXPECT_EQ(choice(DType::q4_k, TensorRole::head, 2560), DType::q6_k);
  EXPECT_EQ(choice(DType::q4_0, TensorRole::head, 2560), DType::q6_k);
  EXPECT_EQ(choice(DType::q8_0, TensorRole::head, 2560), DType::q8_0);
  EXPECT_EQ(choice(DType::q4_k, TensorRole::words, 2560), DType::q4_k);
  EXPECT_EQ(choice(DType::q4_k, TensorRole::joined_qkv, 768, 0, 12), DType::q5_k);
  EXPECT_EQ(choice(DType::q4_0, TensorRole::joined_qkv, 768, 0, 12), DType::q4_0);
  EXPECT_EQ(choice(DType::q4_0, TensorRole::plain, 7), DType::f32);
  EXPECT_EQ(mix_name(DType::q4_k), "Q4_K_M");
}

TEST(BlockChoice, GivesMoreBitsToHalfOfTheValues) {
  std::string more;  // of 32 layers: the first and last four, and every third between
  for (std::int64_t layer = 0; layer < 32; ++layer) {
    const bool six = choice(DType::q4_k, TensorRole::values, 4096, layer, 32) == DType::q6_k;
    EXPECT_EQ(choice(DType::q4_k, TensorRole::down, 4096, layer, 32),
              six ? DType::q6_k : DType::q4_k);
    EXPECT_EQ(choice(DType::q8_0, TensorRole::down, 4096, layer, 32), DType::q8_0);
    more += six ? '1' : '0';
  }
  EXPECT_EQ(more, "11110010010010010010010010011111");
}

TEST(BlockChoice, TakesWhatFitsTheRow) {
  EXPECT_EQ(choice(DType::q4_k, TensorRole::matrix, 576, 0, 30), DType::q5_0);
  EXPECT_EQ(choice(DType::q4_k, TensorRole::joined_qkv, 1600, 0, 48), DType::q5_1);
  EXPECT_EQ(choice(DType::q4_k, TensorRole::head, 576), DType::q8_0);
  EXPECT_EQ(choice(DType::q4_0, TensorRole::matrix, 576, 0, 30), DType::q4_0);
  EXPECT_EQ(choice(DType::q8_0, TensorRole::matrix, 40, 0, 30), DType::f16);
}

TEST(T5GgufName, NamesEveryPart) {
  EXPECT_EQ(t5_gguf_name("shared.weight"), "token_embd.weight");
  EXPECT_EQ(t5_gguf_name("encoder.block.11.layer.0.SelfAttention.o.weight"),
            "enc.blk.11.attn_o.weight");
  EXPECT_EQ(t5_gguf_name("encoder.block.0.layer.1.layer_norm.weight"), "enc.blk.0.ffn_norm.weight");
  EXPECT_EQ(t5_gguf_name("decoder.block.0.layer.1.layer_norm.weight"),
            "dec.blk.0.cross_attn_norm.weight");
  EXPECT_EQ(t5_gguf_name("decoder.block.2.layer.2.DenseReluDense.wi_1.weight"),
            "dec.blk.2.ffn_up.weight");
  EXPECT_EQ(t5_gguf_name("decoder.final_layer_norm.weight"), "dec.output_norm.weight");
}

}  // namespace
}  // namespace blip2
