#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "blip2/base/error.h"
#include "blip2/io/safetensors.h"
#include "blip2/language/decoder_weights.h"
#include "blip2/language/language_model.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

DecoderConfig tiny_config() {
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

class DecoderFile : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  // Random weights, changed by `change` before they are written.
  template <typename Change>
  void write(const DecoderConfig& config, const Change& change) {
    DecoderWeights weights;
    weights.config = config;
    const at::Generator random = at::make_generator<at::CPUGeneratorImpl>(7);
    std::map<std::string, at::Tensor> tensors;
    for (const TensorSlot& slot : decoder_tensors(weights)) {
      tensors["lm." + slot.name] = at::randn(slot.shape, random);
    }
    change(tensors);
    std::vector<TensorView> views;
    for (const auto& [name, tensor] : tensors) views.push_back(view_of(name, tensor));
    write_safetensors(path_, views);
  }
  std::shared_ptr<LanguageModel> load(const DecoderConfig& config) {
    return load_language_model(open_tensor_file(path_), config, at::kFloat, "lm.");
  }
  std::filesystem::path path_ = ::testing::TempDir() + "decoder_test.safetensors";
};

TEST_F(DecoderFile, StepsEqualOneForwardPass) {
  write(tiny_config(), [](auto&) {});
  const auto model = load(tiny_config());
  const std::vector<std::int64_t> ids = {3, 1, 4, 1, 5, 9};
  const at::Tensor embeds = model->embed(at::tensor(ids));
  const at::Tensor logits = model->logits(model->forward_packed(embeds, {0, 6}));
  const auto session = model->make_session(2);
  const std::int64_t offsets[] = {0, 3};
  std::span<const float> last = session->prompt(embeds.narrow(0, 0, 3), offsets);
  for (std::int64_t t = 2; t < 6; ++t) {
    for (std::int64_t v = 0; v < 11; ++v) {
      EXPECT_NEAR(last[static_cast<std::size_t>(v)], logits[t][v].item<float>(), 1e-4);
    }
    if (t == 5) break;
    const auto token = static_cast<std::int32_t>(ids[static_cast<std::size_t>(t) + 1]);
    last = session->advance(std::span(&token, 1));
  }
  EXPECT_EQ(session->length(0), 6);
}

TEST_F(DecoderFile, Int8WeightsTrainAndWrite) {
  write(tiny_config(), [](auto&) {});
  const auto exact = load(tiny_config());
  const auto rounded = load_language_model(open_tensor_file(path_), tiny_config(), at::kFloat,
                                           "lm.", MatrixForm::int8);
  const at::Tensor embeds = exact->embed(at::tensor({3, 1, 4}, at::kLong)).requires_grad_();
  const auto gradient = [&](LanguageModel& model) {
    return torch::autograd::grad({model.forward_packed(embeds, {0, 3}).square().sum()},
                                 {embeds})[0];
  };
  const at::Tensor one = gradient(*exact), other = gradient(*rounded);
  const double off = ((one - other).norm() / one.norm()).item<double>();
  EXPECT_GT(off, 1e-6);
  EXPECT_LT(off, 0.3);  // weights of deviation 1 make much of little
  const at::Tensor logits = rounded->logits(rounded->forward_packed(embeds, {0, 3}).detach());
  const std::int64_t offsets[] = {0, 3};
  const auto session = rounded->make_session(2);
  const std::span<const float> last = session->prompt(embeds, offsets);
  for (std::int64_t v = 0; v < 11; ++v) {
    EXPECT_NEAR(last[static_cast<std::size_t>(v)], logits[2][v].item<float>(), 1e-4);
  }
  EXPECT_THROW(rounded->tensors(), c10::Error);
}

TEST_F(DecoderFile, EveryFormOfItsMatricesGivesTheSame) {
  write(tiny_config(), [](auto&) {});
  const std::shared_ptr<const TensorFile> file = open_tensor_file(path_);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    at::Tensor hidden, gradient;
    for (const MatrixForm form : {MatrixForm::stored, MatrixForm::joined}) {
      const auto model = load_language_model(file, tiny_config(), type, "lm.", form);
      const at::Tensor embeds = model->embed(at::tensor({3, 1, 4, 1, 5})).requires_grad_();
      const at::Tensor out = model->forward_packed(embeds, {0, 2, 5});
      out.square().sum().backward();
      if (hidden.defined()) {
        EXPECT_TRUE(at::equal(out, hidden));
        EXPECT_TRUE(at::equal(embeds.grad(), gradient));
      }
      hidden = out.detach(), gradient = embeds.grad();
      EXPECT_TRUE(at::equal(model->tensors()[3].second,
                            to_tensor(file->get("lm." + model->tensors()[3].first), type)));
    }
  }
}

// The gradient through norms of heads against differences, and the cache against the whole pass.
TEST_F(DecoderFile, NormsOfHeadsHaveTheirGradientAndTheirCache) {
  DecoderConfig config = tiny_config();
  config.family = DecoderFamily::qwen2;
  config.query_key_norm = true;
  write(config, [](auto&) {});
  const auto model = load(config);
  EXPECT_EQ(model->tensors().size(), 25u);
  const at::Tensor embeds = model->embed(at::tensor({3, 1, 4, 1})).requires_grad_();
  const at::Tensor weights = at::sin(at::arange(32, at::kFloat)).view({4, 8});
  const auto value = [&](const at::Tensor& x) {
    return (model->forward_packed(x, {0, 4}) * weights).sum();
  };
  value(embeds).backward();
  const torch::NoGradGuard no_grad;
  for (const std::int64_t i : {0, 9, 30}) {
    at::Tensor step = at::zeros({32});
    step[i] = 1e-2f;
    const at::Tensor up = value(embeds + step.view({4, 8})),
                     down = value(embeds - step.view({4, 8}));
    EXPECT_NEAR(embeds.grad().view(-1)[i].item<float>(), (up - down).item<float>() / 2e-2f, 2e-2);
  }
  const at::Tensor logits = model->logits(model->forward_packed(embeds, {0, 4}));
  const auto session = model->make_session(2);
  const std::int64_t offsets[] = {0, 3}, one[] = {0, 1};
  session->prompt(embeds.narrow(0, 0, 3), offsets);
  const std::span<const float> last = session->prompt(embeds.narrow(0, 3, 1), one);
  for (std::int64_t v = 0; v < 11; ++v) {
    EXPECT_NEAR(last[static_cast<std::size_t>(v)], logits[3][v].item<float>(), 1e-4);
  }
}

TEST_F(DecoderFile, SelectedRowsContinueTheirSources) {
  write(tiny_config(), [](auto&) {});
  const auto model = load(tiny_config());
  const at::Tensor embeds = model->embed(at::tensor({3, 1, 4, 1, 5}, at::kLong));
  const auto session = model->make_session();
  const std::int64_t offsets[] = {0, 2, 5};
  session->prompt(embeds, offsets);
  const std::int32_t sources[] = {1, 0, 1}, tokens[] = {6, 6, 6};
  session->select(sources);
  const std::span<const float> logits = session->advance(tokens);
  EXPECT_EQ(session->rows(), 3);
  EXPECT_EQ(session->length(1), 3);
  for (std::size_t v = 0; v < 11; ++v) EXPECT_EQ(logits[v], logits[22 + v]);
  EXPECT_NE(logits[0], logits[11]);
}

TEST_F(DecoderFile, PackedRowsDoNotSeeEachOther) {
  write(tiny_config(), [](auto&) {});
  const auto model = load(tiny_config());
  const at::Tensor embeds = at::randn({7, 8});
  const at::Tensor together = model->forward_packed(embeds, {0, 3, 3, 7});
  const at::Tensor alone = model->forward_packed(embeds.narrow(0, 3, 4), {0, 4});
  EXPECT_TRUE(at::allclose(together.narrow(0, 3, 4), alone, 1e-5, 1e-6));
}

TEST_F(DecoderFile, GradientReachesTheEmbeddingsOnly) {
  write(tiny_config(), [](auto&) {});
  const auto model = load(tiny_config());
  EXPECT_EQ(model->tensors().size(), 21u);
  at::Tensor embeds = at::randn({4, 8}).requires_grad_();
  model->forward_packed(embeds, {0, 4}).sum().backward();
  EXPECT_GT(embeds.grad().abs().max().item<float>(), 0.0f);
}

TEST_F(DecoderFile, NamesWhatDoesNotFit) {
  const auto message = [&](auto change) {
    write(tiny_config(), change);
    try {
      load(tiny_config());
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string key = "lm.model.layers.1.self_attn.k_proj.weight";
  EXPECT_THAT(message([&](auto& t) { t.erase(key); }),
              AllOf(HasSubstr(key), HasSubstr("missing"), HasSubstr("decoder_test")));
  EXPECT_THAT(message([&](auto& t) {
                t[key] = at::ones({8, 9});
              }),
              HasSubstr("expected shape [8, 8], got [8, 9]"));
  EXPECT_THAT(message([&](auto& t) { t["lm.model.other"] = at::ones({1}); }),
              HasSubstr("lm.model.other: not a tensor of this model"));
}

TEST(DecoderConfig, RefusesWhatItCannotDo) {
  const json good = decoder_config_to_json(tiny_config());
  EXPECT_EQ(decoder_config_from_json(good, "here").num_key_value_heads, 2);
  const auto message = [&](const char* key, const json& value) {
    json changed = good;
    changed[key] = value;
    try {
      decoder_config_from_json(changed, "config.json");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message("hidden_size", -1), HasSubstr("hidden_size"));
  EXPECT_THAT(message("hidden_size", "wide"), HasSubstr("config.json: hidden_size"));
  EXPECT_THAT(message("num_key_value_heads", 3), HasSubstr("multiple"));
  EXPECT_THAT(message("hidden_act", "gelu"), HasSubstr("gelu"));
  EXPECT_THAT(message("rope_scaling", {{"rope_type", "yarn"}}), HasSubstr("yarn"));
  EXPECT_THAT(message("model_type", "mamba"), HasSubstr("mamba"));
  EXPECT_THAT(message("do_layer_norm_before", false), "");  // Llama has no such key
  EXPECT_THAT(message("num_attention_heads", 0), HasSubstr("num_attention_heads"));
  EXPECT_THAT(message("eos_token_id", 11), HasSubstr("vocabulary"));
  EXPECT_THAT(message("vocab_size", 1ll << 40), HasSubstr("vocab_size"));
}

}  // namespace
}  // namespace blip2
