#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <map>

#include "blip2/base/error.h"
#include "blip2/base/message_of.h"
#include "blip2/io/gguf_writer.h"
#include "blip2/language/language_gguf.h"
#include "blip2/language/t5.h"
#include "blip2/language/t5_layers_internal.h"
#include "blip2/language/t5_session_internal.h"
#include "blip2/language/teacher_forcing.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using Offsets = std::vector<std::int64_t>;

const std::vector<ForcedRow> kTwoRows{{{}, {5}, {5}}, {{}, {1, 2, 1}, {1, 2, 1}}};

json tiny_json() {
  return {{"model_type", "t5"},
          {"feed_forward_proj", "gated-gelu"},
          {"vocab_size", 11},
          {"d_model", 6},
          {"d_kv", 3},
          {"d_ff", 5},
          {"num_layers", 2},
          {"num_heads", 2},
          {"tie_word_embeddings", false}};
}

// Weights in memory, as a file.
class TensorsFile : public TensorFile {
 public:
  explicit TensorsFile(std::map<std::string, at::Tensor> tensors)
      : TensorFile("memory"), tensors_(std::move(tensors)) {
    for (const auto& [name, tensor] : tensors_) add(view_of(name, tensor));
  }
  std::string_view format() const override { return "memory"; }

 private:
  std::map<std::string, at::Tensor> tensors_;
};

std::map<std::string, at::Tensor> random_tensors(const T5Config& config) {
  torch::manual_seed(7);
  T5Weights weights;
  weights.config = config;
  std::map<std::string, at::Tensor> tensors;
  for (const TensorSlot& slot : t5_tensors(weights)) {
    tensors[slot.name] = torch::randn(slot.shape) * 0.5;
  }
  return tensors;
}

std::shared_ptr<T5> tiny_model(at::ScalarType dtype = at::kFloat) {
  const T5Config config = t5_config_from_json(tiny_json(), "test");
  return load_t5(std::make_shared<TensorsFile>(random_tensors(config)), config, dtype);
}

TEST(T5Config, ReadsAndRefuses) {
  const T5Config c = t5_config_from_json(tiny_json(), "config.json");
  EXPECT_EQ(c.num_decoder_layers, 2);
  EXPECT_TRUE(c.gated_gelu);
  EXPECT_FALSE(c.scale_decoder_outputs);
  EXPECT_EQ(t5_config_to_json(t5_config_from_json(t5_config_to_json(c), "again")),
            t5_config_to_json(c));
  const auto failure = [](const char* key, const json& value) {
    json changed = tiny_json();
    changed[key] = value;
    return message_of([&] { t5_config_from_json(changed, "config.json"); });
  };
  EXPECT_THAT(failure("d_model", 0), HasSubstr("config.json: d_model: expected 1 to"));
  EXPECT_THAT(failure("d_kv", "x"), HasSubstr("d_kv"));
  EXPECT_THAT(failure("num_heads", nullptr), HasSubstr("num_heads"));
  EXPECT_THAT(failure("feed_forward_proj", "gated-silu"), HasSubstr("gated-silu"));
  EXPECT_THAT(failure("model_type", "opt"), HasSubstr("expected 't5', got 'opt'"));
  EXPECT_THAT(failure("eos_token_id", 11), HasSubstr("eos_token_id 11"));
  EXPECT_THAT(failure("relative_attention_max_distance", 16), HasSubstr("max_distance"));
  json plain = tiny_json();
  plain.erase("tie_word_embeddings");
  EXPECT_TRUE(t5_config_from_json(plain, "config.json").scale_decoder_outputs);
}

TEST(T5Layers, CountsDistancesInBuckets) {
  T5Config config;  // 32 buckets up to 128
  const at::Tensor distance = torch::tensor({-200L, -16L, -8L, -1L, 0L, 1L, 7L, 8L, 300L});
  EXPECT_TRUE(at::equal(t5_buckets(distance, true, config),
                        torch::tensor({15L, 10L, 8L, 1L, 0L, 17L, 23L, 24L, 31L})));
  EXPECT_TRUE(at::equal(t5_buckets(distance, false, config),
                        torch::tensor({31L, 16L, 8L, 1L, 0L, 0L, 0L, 0L, 0L})));
}

TEST(T5Layers, NormsByHand) {
  Norm norm(torch::tensor({1.0f, 2.0f}), {}, 0, Norm::Kind::rms);
  norm.widen();
  const at::Tensor x = torch::tensor({{3.0f, 4.0f}});  // rms 3.5355
  const at::Tensor expected = torch::tensor({{0.848528f, 2.262742f}});
  EXPECT_TRUE(at::allclose(t5_norm(x, norm, at::kFloat), expected, 1e-5));
  EXPECT_TRUE(at::allclose(t5_norm(x.clone().requires_grad_(), norm, at::kFloat), expected, 1e-5));
}

TEST(T5Layers, AttendsByHand) {
  // Two keys, the second biased by ln 3: shares 1/4 and 3/4 of the values 4 and 8.
  const at::Tensor q = torch::tensor({{0.0f}}), k = torch::tensor({{1.0f}, {2.0f}}),
                   v = torch::tensor({{4.0f}, {8.0f}});
  const at::Tensor bias = torch::tensor({0.0f, std::log(3.0f)}).view({1, 1, 2});
  EXPECT_NEAR(t5_attention(q, k, v, 1, bias).item<float>(), 7.0f, 1e-5);
}

TEST(T5, SessionContinuesAsTheWholeSequenceDoes) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto model = tiny_model(dtype);
    const torch::NoGradGuard no_grad;
    const at::Tensor embeds = model->embed(torch::tensor({3L, 4L, 5L, 6L, 7L}));
    const Offsets offsets{0, 2, 5};
    T5Session session(model, 1);
    session.prompt(embeds, offsets);
    session.advance(std::vector<std::int32_t>{8, 9});
    session.select(std::vector<std::int32_t>{1, 1, 0});
    const auto logits = session.advance(std::vector<std::int32_t>{2, 3, 4});
    const at::Tensor inputs = torch::tensor({0L, 9L, 2L, 0L, 9L, 3L, 0L, 8L, 4L});
    const at::Tensor states = model->encode(
        model->embed(torch::tensor({5L, 6L, 7L, 5L, 6L, 7L, 3L, 4L})), Offsets{0, 3, 6, 8});
    const at::Tensor all = model->decode(states, Offsets{0, 3, 6, 8}, inputs, Offsets{0, 3, 6, 9});
    const double tolerance = dtype == at::kFloat ? 1e-4 : 5e-2;
    for (std::int64_t row = 0; row < 3; ++row) {
      for (std::int64_t i = 0; i < 11; ++i) {
        EXPECT_NEAR(logits[static_cast<std::size_t>(row * 11 + i)],
                    all[row * 3 + 2][i].item<float>(), tolerance);
      }
    }
  }
}

TEST(T5, LossReachesTheEmbeddings) {
  const auto model = tiny_model();
  at::Tensor soft = torch::randn({2, 3, 6}).requires_grad_();
  const at::Tensor losses = forced_losses(*model, soft, kTwoRows);
  EXPECT_EQ(losses.sizes(), at::IntArrayRef({4}));
  losses[1].backward();  // of the second sequence alone
  EXPECT_EQ(soft.grad()[0].abs().max().item<float>(), 0.0f);
  EXPECT_GT(soft.grad()[1].abs().max().item<float>(), 0.0f);
  const std::vector<ForcedRow> outside{{{}, {11}, {11}}};
  EXPECT_THROW(forced_losses(*model, soft.narrow(0, 0, 1), outside), c10::Error);
}

TEST(T5, Int8WeightsAreTheirRoundedValues) {
  const T5Config config = t5_config_from_json(tiny_json(), "test");
  auto tensors = random_tensors(config);
  const auto int8 =
      load_t5(std::make_shared<TensorsFile>(tensors), config, at::kFloat, {}, MatrixForm::int8);
  T5Weights shapes;
  shapes.config = config;
  int matrices = 0;
  for (const TensorSlot& slot : t5_tensors(shapes)) {
    if (!slot.is_matrix()) continue;
    ++matrices;
    at::Tensor& tensor = tensors[slot.name];
    const Int8Matrix rounded = to_int8(tensor);
    const at::Tensor values = rounded.values * rounded.scale.unsqueeze(1);
    EXPECT_LE(((tensor - values).abs() / rounded.scale.unsqueeze(1)).max().item<float>(), 0.501f);
    tensor = values;
  }
  EXPECT_EQ(matrices, 2 * (4 + 3) + 2 * (8 + 3));
  const auto plain = load_t5(std::make_shared<TensorsFile>(tensors), config, at::kFloat);
  EXPECT_FALSE(int8->weights()->encoder.layers[0].self.q.weight().defined());
  at::Tensor soft = torch::randn({2, 3, 6}).requires_grad_();
  const auto losses = [&](const T5& model) { return forced_losses(model, soft, kTwoRows); };
  const auto gradient = [&](const T5& model) {
    return torch::autograd::grad({losses(model).sum()}, {soft})[0];
  };
  EXPECT_TRUE(at::allclose(losses(*int8), losses(*plain), 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(gradient(*int8), gradient(*plain), 1e-4, 1e-5));
  T5Session one(int8, 1), other(plain, 1);
  const torch::NoGradGuard no_grad;
  const at::Tensor embeds = soft.flatten(0, 1);
  const auto a = one.prompt(embeds, Offsets{0, 6}), b = other.prompt(embeds, Offsets{0, 6});
  for (std::size_t v = 0; v < a.size(); ++v) EXPECT_NEAR(a[v], b[v], 1e-4);
}

TEST(T5, LoadsStrictly) {
  const T5Config config = t5_config_from_json(tiny_json(), "test");
  const auto failure = [&](const std::function<void(std::map<std::string, at::Tensor>&)>& change,
                           at::ScalarType dtype = at::kFloat) {
    auto tensors = random_tensors(config);
    change(tensors);
    return message_of([&] { load_t5(std::make_shared<TensorsFile>(tensors), config, dtype); });
  };
  const std::string name = "decoder.block.1.layer.1.EncDecAttention.k.weight";
  EXPECT_THAT(failure([&](auto& t) { t.erase(name); }),
              HasSubstr(name + ": missing, expected shape [6, 6]"));
  EXPECT_THAT(failure([&](auto& t) { t[name] = at::zeros({6, 5}); }), HasSubstr("got [6, 5]"));
  EXPECT_THAT(failure([](auto& t) { t["extra"] = at::zeros({1}); }),
              HasSubstr("extra: not a tensor of this model"));
  EXPECT_THAT(failure([](auto&) {}, at::kHalf), HasSubstr("overflow"));
  EXPECT_EQ(failure([](auto& t) {
              t["encoder.embed_tokens.weight"] = t["shared.weight"];
              t.erase("lm_head.weight");
            }),
            "no error");
}

TEST(T5, RowsJoinARunningSession) {
  const auto model = tiny_model();
  const at::Tensor embeds = torch::randn({9, 6});
  const auto start = [&](std::int64_t begin, const Offsets& offsets) {
    auto session = std::make_unique<T5Session>(model, 2);
    session->prompt(embeds.narrow(0, begin, offsets.back()), offsets);
    return session;
  };
  const auto running = start(0, {0, 3, 4}), late = start(4, {0, 5}), alone = start(4, {0, 5});
  const std::int32_t two[] = {1, 2}, three[] = {3, 4, 5}, last[] = {5};
  running->advance(two);
  running->join(*late);
  EXPECT_EQ(late->rows(), 0);
  const std::span<const float> together = running->advance(three);
  EXPECT_TRUE(std::ranges::equal(together.subspan(22), alone->advance(last)));
  const std::int32_t sources[] = {2, 0}, tokens[] = {6, 7}, next[] = {6};
  running->select(sources);
  const std::span<const float> left = running->advance(tokens);
  EXPECT_TRUE(std::ranges::equal(left.first(11), alone->advance(next)));
  EXPECT_THROW(running->join(*std::make_unique<T5Session>(tiny_model(), 1)), c10::Error);
}

// A model whose widths are multiples of a block, quantised into a file: products without gradients
// take activations in eight bits, those with gradients the numbers of the blocks.
TEST(T5, BlocksWithEightBitActivationsAreNearTheirNumbers) {
  json sizes = tiny_json();
  sizes.update({{"d_model", 64}, {"d_kv", 16}, {"num_heads", 4}, {"d_ff", 96}});
  const T5Config config = t5_config_from_json(sizes, "test");
  std::map<std::string, at::Tensor> tensors = random_tensors(config);
  for (auto& [name, tensor] : tensors) {
    if (tensor.dim() == 2) tensor = tensor * 0.2;
  }
  const auto plain = std::make_shared<TensorsFile>(tensors);
  const std::string path = ::testing::TempDir() + "t5_test.gguf";
  write_language_gguf(plain, config, "", DType::q8_0, path, [](GgufWriter&) {});
  const auto blocks = load_t5(open_tensor_file(path), config, at::kFloat, "", MatrixForm::blocks);
  const at::Tensor embeds = torch::randn({7, 64}), ids = at::tensor({1, 4, 9, 2}, at::kLong);
  const Offsets offsets{0, 3, 7}, text{0, 2, 4};
  const auto logits = [&](const T5& model) {
    return model.decode(model.encode(embeds, offsets), offsets, ids, text);
  };
  const at::Tensor exact = logits(*load_t5(plain, config, at::kFloat));
  const at::Tensor through = [&] {
    const at::Tensor wants = embeds.clone().requires_grad_();
    return blocks->decode(blocks->encode(wants, offsets), offsets, ids, text).detach();
  }();
  const torch::NoGradGuard no_grad;
  const auto off = [&](const at::Tensor& y) {
    return ((y - exact).norm() / exact.norm()).item<float>();
  };
  EXPECT_LT(off(through), 0.015);
  EXPECT_LT(off(logits(*blocks)), 0.02);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace blip2
