#include "blip2/nn/adopt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "blip2/base/message_of.h"
#include "blip2/io/recast.h"
#include "blip2/io/safetensors.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

using Tensors = std::map<std::string, at::Tensor>;

class Adopt : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  // A mapped file.
  std::shared_ptr<const TensorFile> file(const Tensors& tensors) {
    std::vector<TensorView> views;
    for (const auto& [name, tensor] : tensors) views.push_back(view_of(name, tensor));
    write_safetensors(path_, views);
    return open_tensor_file(path_);
  }
  std::string fault(const Tensors& tensors, const std::vector<TensorSlot>& slots,
                    const AdoptOptions& options = {}) {
    return message_of([&] { adopt(file(tensors), slots, options); });
  }

  std::filesystem::path path_ =
      ::testing::TempDir() + std::to_string(::getpid()) + "_adopt_test.safetensors";
};

at::Tensor counted(at::IntArrayRef shape) {
  return at::arange(c10::multiply_integers(shape), at::kFloat).view(shape);
}

bool lies_in(const at::Tensor& tensor, const TensorView& view) {
  return tensor.const_data_ptr() == static_cast<const void*>(view.data.data());
}

TEST_F(Adopt, FillsTensorsAndParameters) {
  torch::nn::Linear linear(2, 3);
  const at::Tensor weight = linear->weight;  // the same object before and after
  at::Tensor plain;
  std::vector<TensorSlot> slots = slots_of(*linear);
  ASSERT_EQ(slots.size(), 2u);
  slots.push_back({"plain", &plain, {2}});
  const Tensors tensors{{"m.weight", counted({3, 2})},
                        {"m.bias", at::ones({3})},
                        {"m.plain", counted({2})},
                        {"elsewhere", counted({1})}};
  adopt(file(tensors), slots, {.prefix = "m."});
  EXPECT_TRUE(at::equal(weight, tensors.at("m.weight")));
  EXPECT_TRUE(weight.requires_grad());
  EXPECT_TRUE(at::equal(linear->bias, at::ones({3})));
  EXPECT_TRUE(at::equal(plain, tensors.at("m.plain")));
  EXPECT_TRUE(at::equal(slots[0].tensor(), weight));
  EXPECT_TRUE(at::equal(slots[2].tensor(), plain));
}

// In f32, whatever the file and the place have: 1 + 2^-12 is no number of bf16.
TEST_F(Adopt, AddsToTheFilesNumbers) {
  const at::Tensor stored = at::tensor({1.0f + 0x1p-12f, 3.0f});
  at::Tensor weight;
  const TensorChange less{.plus = -1.0};
  adopt(file({{"a", stored}}), {{"a", &weight, {2}, less}}, {.type = at::kBFloat16});
  EXPECT_TRUE(at::equal(weight, at::tensor({0x1p-12f, 2.0f}).to(at::kBFloat16)));
}

TEST_F(Adopt, StaysInTheMappedFile) {
  auto from = file({{"a", counted({4})}, {"b", counted({4}).to(at::kBFloat16)}});
  at::Tensor a, b, own, bf16;
  adopt(from, {{"a", &a, {4}}, {"b", &b, {4}}});
  adopt(from, {{"a", &own, {4}}}, {.own = true, .ignored = {"b"}});
  adopt(from, {{"b", &bf16, {4}}}, {.type = at::kBFloat16, .ignored = {"a"}});
  EXPECT_TRUE(lies_in(a, from->get("a")));
  EXPECT_TRUE(lies_in(bf16, from->get("b")));
  EXPECT_FALSE(lies_in(own, from->get("a")));
  EXPECT_EQ(b.scalar_type(), at::kFloat);
  own.add_(1);  // the mapped file is read-only
  from.reset();
  EXPECT_TRUE(at::equal(a, counted({4})));  // the file lives as long as its tensors
  EXPECT_TRUE(at::equal(b, counted({4})));
}

TEST_F(Adopt, WholeNumbersKeepTheirType) {
  torch::nn::BatchNorm1d norm(torch::nn::BatchNorm1dOptions(2));
  Tensors tensors;
  for (const auto& [name, tensor] : members_of(*norm)) tensors[name] = at::full_like(tensor, 3);
  adopt(file(tensors), slots_of(*norm), {.type = at::kBFloat16});
  EXPECT_EQ(norm->num_batches_tracked.scalar_type(), at::kLong);
  EXPECT_EQ(norm->num_batches_tracked.item<std::int64_t>(), 3);
  EXPECT_EQ(norm->weight.scalar_type(), at::kBFloat16);
}

TEST_F(Adopt, ChangesWhatTheFileHasInAnotherOrder) {
  at::Tensor transposed, paired, bias;
  // Two heads of four rows; the file has the pairs of each beside each other.
  const Tensors tensors{{"t", counted({2, 3})}, {"p", counted({8, 2})}, {"b", counted({8})}};
  adopt(file(tensors), {{"t", &transposed, {2, 3}, {.transposed = true}},
                        {"p", &paired, {8, 2}, {.paired_heads = 2}},
                        {"b", &bias, {8}, {.paired_heads = 2}}});
  EXPECT_TRUE(at::equal(transposed, counted({2, 3}).t()));
  EXPECT_TRUE(transposed.is_contiguous());
  const at::Tensor order = at::tensor({0, 2, 1, 3, 4, 6, 5, 7}, at::kLong);
  EXPECT_TRUE(at::equal(paired, counted({8, 2}).index_select(0, order)));
  EXPECT_TRUE(at::equal(bias, counted({8}).index_select(0, order)));
}

TEST_F(Adopt, MakesLayersReady) {
  for (const MatrixForm form : {MatrixForm::stored, MatrixForm::joined, MatrixForm::int8}) {
    Linear linear;
    linear.parts.resize(2);
    Norm norm;
    std::vector<TensorSlot> slots{{"q", &linear.parts[0].weight, {3, 4}},
                                  {"bias", &linear.parts[0].bias, {3}},
                                  {"k", &linear.parts[1].weight, {2, 4}},
                                  {"k_bias", &linear.parts[1].bias, {2}},
                                  {"norm", &norm.weight, {4}},
                                  {"norm_bias", &norm.bias, {4}}};
    for (std::size_t i = 0; i < 4; ++i) slots[i].linear = &linear;
    slots[4].norm = slots[5].norm = &norm;
    EXPECT_TRUE(slots[0].is_matrix() && !slots[1].is_matrix() && !slots[4].is_matrix());
    const auto from = file({{"q", counted({3, 4})},
                            {"bias", at::ones({3})},
                            {"k", counted({2, 4})},
                            {"k_bias", at::ones({2})},
                            {"norm", at::ones({4})},
                            {"norm_bias", at::zeros({4})}});
    adopt(from, slots, {.form = form});
    const at::Tensor x = at::ones({1, 4});
    const at::Tensor expected =
        at::linear(x, at::cat({counted({3, 4}), counted({2, 4})}), at::ones({5}));
    EXPECT_TRUE(at::allclose(linear.each_row(x), expected, 0.01)) << linear.each_row(x);
    EXPECT_EQ(norm.each_row(counted({2, 4}), at::kFloat).sizes(), at::IntArrayRef({2, 4}));
    EXPECT_EQ(form == MatrixForm::stored,
              linear.parts[0].weight.defined() && lies_in(linear.parts[0].weight, from->get("q")));
    EXPECT_EQ(form == MatrixForm::int8, !linear.parts[1].weight.defined());
  }
}

// 0.2564 * 127 is 32.56; rounded to bf16 first, 32.49.
TEST_F(Adopt, Int8IsRoundedFromTheFilesNumbers) {
  const at::Tensor weight = at::tensor({1.0f, 0.2564f, 0.5f, 0.125f}).view({1, 4});
  Linear linear;
  linear.parts.resize(1);
  TensorSlot slot{"w", &linear.parts[0].weight, {1, 4}};
  slot.linear = &linear;
  adopt(file({{"w", weight}}), {slot}, {.type = at::kBFloat16, .form = MatrixForm::int8});
  const at::Tensor rounded = linear(at::eye(4, at::kBFloat16)).flatten().to(at::kFloat);
  EXPECT_NEAR(rounded[1].item<float>() * 127, 33, 0.3);
}

TEST_F(Adopt, ListsEveryFaultAtOnce) {
  at::Tensor a, b, c;
  const std::vector<TensorSlot> slots{{"a", &a, {4, 2}}, {"b", &b, {3}}, {"c", &c, {2}}};
  const std::string message = fault({{"m.a", counted({3, 2})},
                                     {"m.c", at::ones({2}, at::kLong)},
                                     {"m.d", at::ones({1})},
                                     {"elsewhere", at::ones({1})}},
                                    slots, {.part = "language model", .prefix = "m."});
  EXPECT_THAT(message,
              AllOf(HasSubstr("adopt_test"), HasSubstr("4 tensors do not fit the language model: "),
                    HasSubstr("m.a: expected shape [4, 2], got [3, 2]"),
                    HasSubstr("m.b: missing, expected shape [3]"),
                    HasSubstr("m.c: expected a floating-point type, got I64"),
                    HasSubstr("m.d: not a tensor of this model, got shape [1]")));
  EXPECT_FALSE(a.defined() || b.defined() || c.defined());
}

// A file with one tensor of a block-quantised type.
class QuantisedFile : public TensorFile {
 public:
  explicit QuantisedFile(DType type) : TensorFile("quantised.gguf") {
    bytes_.resize(static_cast<std::size_t>(dtype_block(type).bytes));
    add({"a", type, {dtype_block(type).elements}, bytes_});
  }
  std::string_view format() const override { return "GGUF"; }

 private:
  std::vector<std::byte> bytes_;
};

TEST_F(Adopt, RefusesTypesThatCannotBeComputedWith) {
  at::Tensor a;
  const auto from = std::make_shared<QuantisedFile>(DType::q2_k);
  EXPECT_THAT(message_of([&] {
                adopt(from, {{"a", &a, {256}}});
              }),
              HasSubstr("1 tensor does not fit the model: a: Q2_K cannot be computed with"));
}

// Blocks stay what they are only in a slot that has a place for them, and if they are asked for.
TEST_F(Adopt, KeepsBlocksThatHaveAPlace) {
  const auto from = std::make_shared<QuantisedFile>(DType::q8_0);
  at::Tensor a;
  BlockMatrix blocks;
  TensorSlot slot{"a", &a, {32}};
  slot.blocks = &blocks;
  adopt(from, {slot});
  EXPECT_TRUE(at::equal(a, at::zeros({32})));  // widened
  EXPECT_FALSE(blocks.defined());
  a = at::Tensor();
  WordTable table;
  TensorSlot words{"a", &table.values, {32}};
  adopt(from, {words}, {.form = MatrixForm::blocks});
  EXPECT_TRUE(table.values.defined());  // the slot has no place for them
}

TEST_F(Adopt, PassesOverWhatAListNames) {
  at::Tensor a, b = at::ones({1});
  const std::vector<TensorSlot> slots{{"a", &a, {1}}, {"b", &b, {3}}};
  const Tensors tensors{{"a", at::zeros({1})}, {"old.mask", at::ones({1})}};
  EXPECT_THAT(fault(tensors, slots), AllOf(HasSubstr("b: missing"), HasSubstr("old.mask: not")));
  EXPECT_EQ(fault(tensors, slots, {.optional = {"b"}, .ignored = {"*.mask"}}), "no error");
  EXPECT_EQ(b.item<float>(), 1.0f);  // as it was
  EXPECT_EQ(fault({{"a", at::zeros({1})}, {"x.rotary_emb.inv_freq", at::ones({1})}}, {slots[0]}),
            "no error");
}

TEST_F(Adopt, TiedWeightsMayShareATensor) {
  at::Tensor words, head;
  const auto from = file({{"words", counted({3, 2})}});
  adopt(from, {{"words", &words, {3, 2}}, {"words", &head, {3, 2}}});
  EXPECT_EQ(words.const_data_ptr(), head.const_data_ptr());
  EXPECT_TRUE(lies_in(head, from->get("words")));
  // One fault, not two.
  EXPECT_THAT(fault({}, {{"words", &words, {3, 2}}, {"words", &head, {3, 2}}}),
              HasSubstr("1 tensor does not fit the model: words: missing"));
}

TEST_F(Adopt, NamesTensorsAsTheFileOnDiskDoes) {
  at::Tensor k, bias;
  const std::vector<TensorSlot> slots{{"k", &k, {1, 2}}, {"bias", &bias, {4}}};
  const std::vector<TensorRecipe> recipes{{"k", {{"qkv", 1, 3}}}, {"bias", {{"q"}, {"v"}}}};
  const auto theirs =
      file({{"m.qkv", counted({3, 2})}, {"m.q", counted({2})}, {"m.v", counted({2})}});
  const std::shared_ptr<const TensorFile> ours = recast(theirs, recipes, "m.");
  adopt(ours, slots, {.prefix = "m."});
  EXPECT_TRUE(at::equal(k, at::tensor({2.0f, 3.0f}).view({1, 2})));
  EXPECT_EQ(k.const_data_ptr(), static_cast<const void*>(theirs->get("m.qkv").data.data() + 8));
  EXPECT_TRUE(at::equal(bias, at::tensor({0.0f, 1.0f, 0.0f, 1.0f})));

  const auto broken =
      file({{"m.qkv", counted({3, 3})}, {"m.q", counted({2})}, {"m.x", counted({1})}});
  EXPECT_THAT(message_of([&] { adopt(recast(broken, recipes, "m."), slots, {.prefix = "m."}); }),
              AllOf(HasSubstr("3 tensors do not fit"),
                    HasSubstr("m.qkv, for m.k: expected shape [1, 2], got [1, 3]"),
                    HasSubstr("m.v: missing, for m.bias of shape [4]"),
                    HasSubstr("m.x: not a tensor of this model")));
}

}  // namespace
}  // namespace blip2
