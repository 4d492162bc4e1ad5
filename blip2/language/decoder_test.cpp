#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "blip2/base/error.h"
#include "blip2/io/safetensors.h"
#include "blip2/language/decoder_weights.h"
#include "blip2/language/frozen_language.h"
#include "blip2/language/language_model.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

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

TEST_F(DecoderFile, ReadsTextsAloneAsBesideOthers) {
  write(tiny_config(), [](auto&) {});
  const auto model = load(tiny_config());
  const FrozenLanguage language(model);
  const std::vector<std::vector<std::int64_t>> texts{{3, 1, 4}, {}, {1}, {5, 9, 2, 6, 5}};
  const at::Tensor all = language.read(texts), ids = at::tensor({3, 1, 4, 1, 5, 9, 2, 6, 5});
  const at::Tensor trained = model->forward_packed(model->embed(ids), {0, 3, 4, 9});
  EXPECT_LT((all - trained).abs().max().item<float>(), 1e-4f * trained.abs().max().item<float>());
  for (const std::int64_t i : {0, 2, 3}) {
    const at::Tensor alone =
        language.read(std::span(texts).subspan(static_cast<std::size_t>(i), 1));
    EXPECT_TRUE(at::equal(alone, all.narrow(0, i == 0 ? 0 : i + 1, alone.size(0))));
  }
}

TEST_F(DecoderFile, EmbedsAsTheModelWithoutLoadingIt) {
  const at::Tensor ids = at::tensor({3, 0, 10, 3}, at::kLong);
  const auto equal_to_the_model = [&](const DecoderConfig& config) {
    const std::shared_ptr<const TensorFile> file = open_tensor_file(path_);
    bool equal = true;
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const auto model = load_language_model(file, config, type, "lm.");
      equal &= at::equal(embed_from_file(file, config, type, "lm.", ids), model->embed(ids));
    }
    return equal;
  };
  DecoderConfig config = tiny_config();
  write(config, [](auto&) {});
  EXPECT_TRUE(equal_to_the_model(config));
  write(config, [](auto& tensors) {  // as a base model's file
    std::map<std::string, at::Tensor> base;
    for (auto& [name, tensor] : tensors) {
      base[name.starts_with("lm.model.") ? "lm." + name.substr(9) : name] = tensor;
    }
    tensors = base;
  });
  EXPECT_TRUE(equal_to_the_model(config));
  config.scaled_embeddings = true;  // products are rounded to the weights' type
  EXPECT_TRUE(equal_to_the_model(config));
  const auto narrow = load_language_model(open_tensor_file(path_), config, at::kBFloat16, "lm.");
  const at::Tensor factor = at::tensor(std::sqrt(8.0)).to(at::kBFloat16);
  config.scaled_embeddings = false;
  const auto plain = load_language_model(open_tensor_file(path_), config, at::kBFloat16, "lm.");
  EXPECT_TRUE(
      at::equal(narrow->embed(ids), (plain->embed(ids).to(at::kBFloat16) * factor).to(at::kFloat)));
  const auto session = narrow->make_session(), other = narrow->make_session();
  const std::int64_t one[] = {0, 1};
  const std::int32_t token[] = {10};
  session->prompt(narrow->embed(ids.narrow(0, 0, 1)), one);
  other->prompt(narrow->embed(ids.narrow(0, 0, 1)), one);
  EXPECT_TRUE(std::ranges::equal(session->advance(token),
                                 other->prompt(narrow->embed(at::tensor({10}, at::kLong)), one)));
  config.tie_word_embeddings = true;
  write(config, [](auto& tensors) {  // under the head's name
    tensors["lm.lm_head.weight"] = tensors.at("lm.model.embed_tokens.weight");
    tensors.erase("lm.model.embed_tokens.weight");
  });
  EXPECT_TRUE(equal_to_the_model(config));
  config.vocab_size = 12;
  EXPECT_THAT([&] { embed_from_file(open_tensor_file(path_), config, at::kFloat, "lm.", ids); },
              ::testing::ThrowsMessage<Error>(HasSubstr("expected shape [12, 8], got [11, 8]")));
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

// Beams hold the tokens of their prompt once; each must give what a session of its own gives, bit
// for bit, after forks of forks, a reordering, and a prompt that goes on.
TEST_F(DecoderFile, RowsThatShareAPromptEqualSessionsOfTheirOwn) {
  DecoderConfig config = tiny_config();
  config.max_position_embeddings = 64;
  write(config, [](auto&) {});
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const auto model = load_language_model(open_tensor_file(path_), config, type, "lm.");
    const at::Tensor prompt = model->embed(at::arange(20) % 11);
    const std::int64_t whole[] = {0, 20};
    const auto session = model->make_session(24);
    session->prompt(prompt, whole);
    std::vector<std::vector<std::int32_t>> texts(1);
    std::span<const float> logits;
    for (const std::vector<std::int32_t>& sources :
         {std::vector{0, 0, 0}, {2, 0, 0, 1}, {3, 1}, {1, 0}, {0, 0, 1}}) {
      session->select(sources);
      std::vector<std::vector<std::int32_t>> next;
      std::vector<std::int32_t> tokens;
      for (const std::int32_t source : sources) {
        tokens.push_back(static_cast<std::int32_t>(3 * next.size() + texts.size()) % 11);
        next.push_back(texts[static_cast<std::size_t>(source)]);
        next.back().push_back(tokens.back());
      }
      texts = std::move(next);
      logits = session->advance(tokens);
    }
    const auto alone = [&](const std::vector<std::int32_t>& tokens) {
      auto own = model->make_session(8);
      own->prompt(prompt, whole);
      for (const std::int32_t token : tokens) own->advance({&token, 1});
      return own;
    };
    const at::Tensor more = model->embed(at::tensor({7, 2, 9}));
    const std::int64_t three[] = {0, 3}, nine[] = {0, 3, 6, 9};
    const std::vector<float> before(logits.begin(), logits.end());
    const std::span<const float> after = session->prompt(at::cat({more, more, more}), nine);
    for (std::size_t row = 0; row < texts.size(); ++row) {
      std::vector<std::int32_t> tokens = texts[row];
      const std::int32_t last = tokens.back();
      tokens.pop_back();
      const auto own = alone(tokens);
      EXPECT_TRUE(
          std::ranges::equal(own->advance({&last, 1}), std::span(before).subspan(11 * row, 11)));
      EXPECT_TRUE(std::ranges::equal(own->prompt(more, three), after.subspan(11 * row, 11)));
    }
  }
}

// Rows that came at another time, whose prompt was read in parts, give bit for bit what a session
// of their own gives.
TEST_F(DecoderFile, RowsJoinARunningSession) {
  DecoderConfig config = tiny_config();
  config.max_position_embeddings = 64;
  write(config, [](auto&) {});
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const auto model = load_language_model(open_tensor_file(path_), config, type, "lm.");
    const at::Tensor prompt = model->embed(at::arange(37) % 11);
    const auto read = [&](const std::vector<std::int64_t>& parts, std::int64_t length) {
      auto session = model->make_session(length + 3);
      std::int64_t begin = 0;
      for (const std::int64_t part : parts) {
        const std::int64_t offsets[] = {0, part};
        session->prompt(prompt.narrow(0, begin, part), offsets);
        begin += part;
      }
      EXPECT_EQ(begin, length);
      return session;
    };
    const auto running = read({20}, 20), late = read({16, 16, 5}, 37), alone = read({37}, 37);
    const std::int32_t first[] = {4}, both[] = {5, 6}, own[] = {6};
    running->advance(first);
    running->join(*late);
    EXPECT_EQ(late->rows(), 0);
    EXPECT_EQ(running->length(1), 37);
    const std::span<const float> together = running->advance(both);
    EXPECT_TRUE(std::ranges::equal(together.subspan(11), alone->advance(own)));
    const std::int32_t sources[] = {1, 1, 0}, tokens[] = {7, 8, 9}, last[] = {8};
    running->select(sources);
    const std::span<const float> beams = running->advance(tokens);
    EXPECT_TRUE(std::ranges::equal(beams.subspan(11, 11), alone->advance(last)));
    const auto other = load_language_model(open_tensor_file(path_), config, type, "lm.");
    EXPECT_THROW(running->join(*other->make_session()), c10::Error);
    EXPECT_THROW(running->join(*running), c10::Error);
  }
}

TEST_F(DecoderFile, PackedRowsDoNotSeeEachOther) {
  write(tiny_config(), [](auto&) {});
  const auto model = load(tiny_config());
  const at::Tensor embeds = at::randn({7, 8});
  const at::Tensor together = model->forward_packed(embeds, {0, 3, 3, 7});
  const at::Tensor alone = model->forward_packed(embeds.narrow(0, 3, 4), {0, 4});
  EXPECT_TRUE(at::allclose(together.narrow(0, 3, 4), alone, 1e-5, 1e-6));
}

// Odd numbers of rows, the first and the last among them, and a sequence of which none is wanted.
TEST_F(DecoderFile, WantedRowsAreThoseOfTheWhole) {
  for (const bool norms : {false, true}) {
    DecoderConfig config = tiny_config();
    if (norms) config.family = DecoderFamily::qwen2;
    config.query_key_norm = norms;
    write(config, [](auto&) {});
    const auto model = load(config);
    const at::Tensor embeds = at::randn({7, 8}).requires_grad_();
    for (const std::vector<std::int64_t>& wanted :
         {std::vector<std::int64_t>{0, 2, 6}, {4}, {0, 1, 2, 3, 4, 5, 6}}) {
      const at::Tensor weights = at::randn({std::ssize(wanted), 8});
      const at::Tensor whole = model->forward_packed(embeds, {0, 3, 3, 7})
                                   .index_select(0, at::tensor(wanted, at::kLong));
      const at::Tensor rows = model->forward_packed(embeds, {0, 3, 3, 7}, wanted);
      EXPECT_TRUE(at::allclose(rows, whole, 1e-4, 1e-5));
      const at::Tensor expected = torch::autograd::grad({whole}, {embeds}, {weights})[0];
      const at::Tensor gradient = torch::autograd::grad({rows}, {embeds}, {weights})[0];
      EXPECT_TRUE(at::allclose(gradient, expected, 1e-4, 1e-4)) << gradient - expected;
      const torch::NoGradGuard no_grad;
      EXPECT_TRUE(at::allclose(model->forward_packed(embeds, {0, 3, 3, 7}, wanted), rows));
    }
    EXPECT_THROW(model->forward_packed(embeds, {0, 7}, {2, 2}), c10::Error);
    EXPECT_THROW(model->forward_packed(embeds, {0, 7}, {7}), c10::Error);
  }
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

}  // namespace
}  // namespace blip2
