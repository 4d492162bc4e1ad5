// Sliding windows, layers without rotation, scaled positions: a session that writes token by token
// against one pass over the whole text, and rotary tables by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "blip2/io/safetensors.h"
#include "blip2/language/decoder_weights.h"
#include "blip2/language/language_model.h"
#include "blip2/language/rope_table_internal.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

DecoderConfig small_config() {
  DecoderConfig config;
  config.hidden_size = 8;
  config.intermediate_size = 12;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 4;
  config.vocab_size = 11;
  return config;
}

class DecoderAttention : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  std::shared_ptr<LanguageModel> make(const DecoderConfig& config) {
    DecoderWeights weights;
    weights.config = config;
    const at::Generator random = at::make_generator<at::CPUGeneratorImpl>(7);
    std::vector<at::Tensor> tensors;
    std::vector<TensorView> views;
    for (const TensorSlot& slot : decoder_tensors(weights)) {
      tensors.push_back(at::randn(slot.shape, random));
      views.push_back(view_of(slot.name, tensors.back()));
    }
    write_safetensors(path_, views);
    return load_language_model(open_tensor_file(path_), config, at::kFloat);
  }

  // The logits of the text's last token by one pass over all of it.
  static at::Tensor whole(LanguageModel& model, const std::vector<std::int64_t>& ids) {
    const torch::NoGradGuard no_grad;
    const at::Tensor embeds = model.embed(at::tensor(ids));
    return model.logits(model.forward_packed(embeds, {0, std::ssize(ids)})).select(0, -1);
  }

  // Every token after a prompt of three, and a prompt of two behind them, by a session of two rows
  // that both come from one.
  static void expect_steps_equal_passes(LanguageModel& model) {
    std::vector<std::int64_t> ids = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5};
    const auto session = model.make_session(2);
    const std::int64_t three[] = {0, 3}, twos[] = {0, 2, 4};
    const std::int32_t both[] = {0, 0};
    session->prompt(model.embed(at::tensor(ids).narrow(0, 0, 3)), three);
    session->select(both);
    for (std::size_t t = 3; t < ids.size(); ++t) {
      const std::int32_t tokens[] = {7, static_cast<std::int32_t>(ids[t])};
      const std::int32_t second[] = {1, 1};
      const std::vector<float> logits = copy(session->advance(tokens));
      expect_equal(logits, whole(model, {ids.begin(), ids.begin() + static_cast<long>(t) + 1}));
      session->select(second);
    }
    const at::Tensor more = model.embed(at::tensor({8, 7}));
    const std::vector<float> logits = copy(session->prompt(at::cat({more, more}), twos));
    ids.insert(ids.end(), {8, 7});
    expect_equal(logits, whole(model, ids));
  }

  static std::vector<float> copy(std::span<const float> logits) {
    return {logits.begin(), logits.end()};
  }
  // The second row's.
  static void expect_equal(const std::vector<float>& logits, const at::Tensor& expected) {
    for (std::int64_t v = 0; v < 11; ++v) {
      EXPECT_NEAR(logits[static_cast<std::size_t>(11 + v)], expected[v].item<float>(), 1e-4);
    }
  }

  std::filesystem::path path_ = ::testing::TempDir() + "decoder_attention_test.safetensors";
};

TEST_F(DecoderAttention, SlidesInSomeLayers) {
  DecoderConfig config = small_config();
  config.sliding_window = 3;
  config.sliding_layers = {true, false};
  config.local_rope = Rope{50.0};
  expect_steps_equal_passes(*make(config));
  // With one layer the last token sees the last three alone.
  config.num_hidden_layers = 1;
  config.sliding_layers = {true};
  const auto model = make(config);
  const auto far = whole(*model, {3, 1, 4, 1, 5}), other = whole(*model, {9, 2, 4, 1, 5}),
             near = whole(*model, {3, 1, 6, 1, 5});
  EXPECT_TRUE(at::allclose(far, other, 0, 1e-5));  // rotated by the same differences
  EXPECT_FALSE(at::allclose(far, near, 0, 1e-2));
}

TEST_F(DecoderAttention, RotatesSomeLayersAndSomeNumbers) {
  DecoderConfig config = small_config();
  config.unrotated_layers = {false, true};
  config.rotary_dim = 2;
  expect_steps_equal_passes(*make(config));
  config.num_hidden_layers = 1;
  config.unrotated_layers = {true};
  const auto model = make(config);  // without positions, the order of what is seen does not count
  EXPECT_TRUE(at::allclose(whole(*model, {3, 1, 4, 5}), whole(*model, {4, 3, 1, 5}), 0, 1e-5));
}

TEST_F(DecoderAttention, ScalesQueriesByTheirPositions) {
  DecoderConfig config = small_config();
  config.query_scale = {0.5, 3};
  config.query_pre_attn_scalar = 9;
  expect_steps_equal_passes(*make(config));
}

TEST_F(DecoderAttention, ReadsATextAgainWhenItsFactorsChange) {
  DecoderConfig config = small_config();
  config.rope.scaling = LongRope{{1.0, 1.5}, {2.0, 9.0}, 6, 1.2};
  const auto model = make(config);
  expect_steps_equal_passes(*model);
  const auto late = model->make_session(4), early = model->make_session(4);
  const std::int64_t five[] = {0, 5}, six[] = {0, 6};
  const std::vector<std::int64_t> first = {3, 1, 4, 1, 5}, second = {2, 7, 1, 8, 2, 8};
  early->prompt(model->embed(at::tensor(first)), five);
  late->prompt(model->embed(at::tensor(second)), six);
  early->join(*late);  // rows of which one becomes long a step before the other
  const std::int32_t tokens[] = {9, 6}, more[] = {10, 0};
  expect_equal(copy(early->advance(tokens)), whole(*model, {2, 7, 1, 8, 2, 8, 6}));
  const std::vector<float> logits = copy(early->advance(more));
  expect_equal(logits, whole(*model, {2, 7, 1, 8, 2, 8, 6, 0}));
  const at::Tensor expected = whole(*model, {3, 1, 4, 1, 5, 9, 10});
  for (std::int64_t v = 0; v < 11; ++v) {
    EXPECT_NEAR(logits[static_cast<std::size_t>(v)], expected[v].item<float>(), 1e-4);
  }
}

// Frequencies of 4 numbers with the base 100: 1 and 1/10.
TEST(RopeTable, ScalesFrequencies) {
  DecoderConfig config = small_config();
  config.rope = {100.0, LinearRope{4.0}};
  RopeTable table(config);
  table.reserve(3);
  EXPECT_NEAR(table.at(0, {2, false}).cos[0], std::cos(0.5), 1e-6);
  EXPECT_NEAR(table.at(1, {2, false}).sin[1], std::sin(0.05), 1e-6);
  config.rope.scaling = LongRope{{1.0, 2.0}, {4.0, 5.0}, 10, 1.5};
  RopeTable factors(config);
  factors.reserve(3);
  EXPECT_FALSE(factors.is_long(10));
  EXPECT_TRUE(factors.is_long(11));
  EXPECT_NEAR(factors.at(0, {2, false}).cos[1], 1.5 * std::cos(0.1), 1e-6);
  EXPECT_NEAR(factors.at(0, {2, true}).sin[0], 1.5 * std::sin(0.5), 1e-6);
  // One rotation over 20 positions is between the bounds: low = floor(4 ln(20 / 4 pi) / 2 ln 100)
  // = 0, high = ceil(4 ln(20 / pi) / 2 ln 100) = 1, so that the first frequency stays.
  config.rope.scaling = YarnRope{.factor = 2.0,
                                 .beta_fast = 2.0,
                                 .beta_slow = 0.5,
                                 .original_max_position_embeddings = 20.0,
                                 .attention_factor = 1.25};
  RopeTable yarn(config);
  yarn.reserve(3);
  EXPECT_NEAR(yarn.at(0, {2, false}).cos[0], 1.25 * std::cos(2.0), 1e-6);
  EXPECT_NEAR(yarn.at(0, {2, false}).cos[1], 1.25 * std::cos(0.1), 1e-6);
}

}  // namespace
}  // namespace blip2
