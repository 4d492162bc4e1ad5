#include "blip2/language/lora.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "blip2/base/file.h"
#include "blip2/base/message_of.h"
#include "blip2/io/json.h"
#include "blip2/io/safetensors.h"
#include "blip2/language/decoder_weights.h"
#include "blip2/language/lora_files.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

DecoderConfig adapted_llama() {
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

DecoderConfig adapted_gpt2() {
  DecoderConfig config = decoder_config_from_json({{"model_type", "gpt2"},
                                                   {"n_embd", 8},
                                                   {"n_head", 2},
                                                   {"n_layer", 1},
                                                   {"vocab_size", 11},
                                                   {"bos_token_id", 1},
                                                   {"eos_token_id", 2}},
                                                  "config.json");
  return config;
}

std::vector<std::string> targets_of(const LanguageConfig& config,
                                    const std::vector<std::string>& targets) {
  std::vector<std::string> names;
  for (const LoraModule& module : lora_targets(config, targets, "targets")) {
    names.push_back(module.name);
  }
  return names;
}

TEST(Lora, TargetsAreNamedByTheirEnds) {
  const DecoderConfig llama = adapted_llama();
  EXPECT_THAT(targets_of(llama, {}),
              ElementsAre("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj",
                          "model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"));
  EXPECT_THAT(targets_of(llama, {"mlp.up_proj", "model.layers.1.self_attn.o_proj"}),
              ElementsAre("model.layers.0.mlp.up_proj", "model.layers.1.self_attn.o_proj",
                          "model.layers.1.mlp.up_proj"));
  EXPECT_EQ(targets_of(llama, {"all-linear"}).size(), 14);
  EXPECT_THAT(targets_of(adapted_gpt2(), {}), ElementsAre("transformer.h.0.attn.c_attn"));
  EXPECT_THAT(targets_of(adapted_gpt2(), {"c_proj"}),
              ElementsAre("transformer.h.0.attn.c_proj", "transformer.h.0.mlp.c_proj"));
  const std::string message = message_of([&] { targets_of(llama, {"q_proj", "c_attn"}); });
  EXPECT_THAT(message, AllOf(HasSubstr("targets"), HasSubstr("'c_attn' names no matrix"),
                             HasSubstr("down_proj, gate_proj, k_proj, o_proj, q_proj")));
  EXPECT_THAT(message_of([&] { targets_of(llama, {"proj"}); }), HasSubstr("'proj' names no"));
}

TEST(Lora, SizesAreThoseOfProducts) {
  const auto modules = lora_targets(adapted_gpt2(), {"c_attn", "c_fc"}, "");
  EXPECT_EQ(modules[0].ins, 8);
  EXPECT_EQ(modules[0].outs, 24);
  EXPECT_TRUE(modules[0].transposed);
  EXPECT_EQ(modules[1].outs, 32);
}

TEST(Lora, PartsOfOneLayerStandBehindEachOther) {
  DecoderWeights weights;
  weights.config = adapted_llama();
  const auto places = lora_places(decoder_tensors(weights));
  EXPECT_EQ(places[1].module.name, "model.layers.0.self_attn.k_proj");
  EXPECT_EQ(places[1].begin, 16);
  EXPECT_EQ(places[2].begin, 24);
  EXPECT_EQ(places[1].linear, places[2].linear);
  EXPECT_EQ(places[3].begin, 0);
}

TEST(Lora, StartsAsPeftDoesAndChangesNothing) {
  const LoraConfig config{.rank = 4, .alpha = 8};
  const auto modules = lora_targets(adapted_llama(), {}, "");
  const LoraAdapters adapters(config, modules, std::uint64_t{3});
  EXPECT_EQ(adapters.parameters(), 2 * 4 * (8 + 16 + 8 + 8));
  for (const auto& [module, a, b] : adapters.adapters()) {
    EXPECT_TRUE(a.requires_grad() && b.requires_grad());
    EXPECT_EQ(b.abs().max().item<double>(), 0);
    EXPECT_LE(a.abs().max().item<double>(), 1 / std::sqrt(8.0));
    EXPECT_GT(a.std().item<double>(), 0.1);
  }
  EXPECT_FALSE(at::equal(adapters.adapters()[0].a, adapters.adapters()[1].a));
  const at::Tensor weight = at::ones({16, 8});
  EXPECT_TRUE(at::equal(adapters.merged(modules[0].name, weight), weight));
  EXPECT_EQ(adapters.flat().numel(), adapters.parameters());
}

TEST(Lora, MergesTheWayThatTheFileHasTheMatrix) {
  const auto modules = lora_targets(adapted_gpt2(), {"c_attn"}, "");
  const LoraAdapters adapters({.rank = 4, .alpha = 2, .rslora = true}, modules, std::uint64_t{3});
  const at::NoGradGuard no_grad;
  const auto& [module, a, b] = adapters.adapters()[0];
  b.normal_();
  const at::Tensor change = at::mm(b, a);  // alpha / sqrt(rank) is 1
  const at::Tensor file = at::zeros({8, 24}), rows = at::zeros({24, 8});
  EXPECT_TRUE(at::allclose(adapters.merged(module.name + ".weight", file), change.t()));
  EXPECT_TRUE(at::allclose(adapters.merged(module.name, rows, /*as_multiplied=*/true), change));
  EXPECT_TRUE(at::equal(adapters.merged(module.name + ".bias", file), file));
}

class LoraFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_);
    const auto modules = lora_targets(config_, {"q_proj", "down_proj"}, "");
    LoraAdapters adapters(
        {.rank = 2, .alpha = 3, .dropout = 0.25, .targets = {"q_proj", "down_proj"}}, modules,
        std::uint64_t{1});
    const at::NoGradGuard no_grad;
    for (const auto& adapter : adapters.adapters()) adapter.b.normal_();
    save_lora(adapters, config_, folder_);
    tensors_ = adapters.tensors();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::shared_ptr<LoraAdapters> load() { return load_lora(folder_, config_, at::kFloat); }
  // What is said of the configuration with other members.
  std::string said_with(const json& members) {
    json object = read_json(folder_ / kLoraConfigFile);
    object.update(members);
    write_file(folder_ / kLoraConfigFile, object.dump());
    return message_of([&] { load(); });
  }
  std::string said_of(const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
    std::vector<TensorView> views;
    for (const auto& [name, tensor] : tensors) views.push_back(view_of(name, tensor));
    write_safetensors(folder_ / kLoraFile, views);
    return message_of([&] { load(); });
  }

  const LanguageConfig config_ = adapted_llama();
  std::vector<std::pair<std::string, at::Tensor>> tensors_;
  const std::filesystem::path folder_ = ::testing::TempDir() + "lora_files";
};

TEST_F(LoraFiles, AreReadAsWritten) {
  for (const bool trained : {false, true}) {
    const auto adapters = load_lora(folder_, config_, at::kFloat, trained);
    EXPECT_EQ(adapters->trained(), trained);
    EXPECT_EQ(adapters->config().rank, 2);
    EXPECT_EQ(adapters->config().scale(), 1.5);
    EXPECT_EQ(adapters->config().dropout, 0.25);
    const auto tensors = adapters->tensors();
    ASSERT_EQ(tensors.size(), tensors_.size());
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      EXPECT_EQ(tensors[i].first, tensors_[i].first);
      EXPECT_TRUE(at::equal(tensors[i].second, tensors_[i].second));
      EXPECT_EQ(tensors[i].second.requires_grad(), trained);
    }
  }
  EXPECT_EQ(load_lora(folder_, config_, at::kBFloat16)->adapters()[0].a.scalar_type(),
            at::kBFloat16);
  EXPECT_EQ(load_lora(::testing::TempDir() + "nothing", config_, at::kFloat), nullptr);
}

TEST_F(LoraFiles, APatternIsWhatTheFileHas) {
  EXPECT_EQ(said_with({{"target_modules", ".*(q|down)_proj"}}), "no error");
  EXPECT_EQ(load()->adapters().size(), 4);
  EXPECT_EQ(said_with({{"target_modules", {"q_proj", "down_proj"}}, {"layers_to_transform", {1}}}),
            "no error");
  EXPECT_THAT(said_with({{"target_modules", "all-linear"}, {"layers_to_transform", nullptr}}),
              HasSubstr("model.layers.0.self_attn.k_proj.lora_A.weight: missing"));
}

TEST_F(LoraFiles, WhatChangesTheNumbersOtherwiseIsRefusedByName) {
  const auto refuses = [&](const json& members, const std::string& key, const std::string& got) {
    const json whole = read_json(folder_ / kLoraConfigFile);
    EXPECT_THAT(said_with(members),
                AllOf(HasSubstr("adapter_config.json: " + key), HasSubstr("got " + got)));
    write_file(folder_ / kLoraConfigFile, whole.dump());
  };
  refuses({{"use_dora", true}}, "use_dora", "true");
  refuses({{"modules_to_save", {"lm_head"}}}, "modules_to_save", "[\"lm_head\"]");
  refuses({{"task_type", "TOKEN_CLS"}}, "task_type", "\"TOKEN_CLS\"");
  refuses({{"peft_type", "IA3"}}, "peft_type", "\"IA3\"");
  refuses({{"bias", "all"}}, "bias", "\"all\"");
  refuses({{"rank_pattern", {{"q_proj", 8}}}}, "rank_pattern", "{");
  refuses({{"init_lora_weights", "pissa"}}, "init_lora_weights", "\"pissa\"");
  refuses({{"some_new_kind", 3}}, "some_new_kind", "3");
  refuses({{"r", 0}}, "r", "0");
  refuses({{"lora_alpha", "much"}}, "lora_alpha", "\"much\"");
  for (const char* key : {"r", "lora_alpha", "lora_dropout", "use_rslora"}) {
    refuses({{key, nullptr}}, key, "null");
  }
  EXPECT_EQ(said_with({{"rank_pattern", json::object()}, {"loftq_config", json::object()}}),
            "no error");
  EXPECT_THAT(said_with({{"target_modules", {"c_attn"}}}), HasSubstr("target_modules: 'c_attn'"));
}

TEST_F(LoraFiles, EveryTensorThatDoesNotFitIsListed) {
  auto tensors = tensors_;
  tensors[0].second = at::ones({3, 8});
  tensors.pop_back();
  tensors.emplace_back("base_model.model.lm_head.lora_A.weight", at::ones({2, 8}));
  EXPECT_THAT(said_of(tensors),
              AllOf(HasSubstr("adapter_model.safetensors"),
                    HasSubstr("layers.0.self_attn.q_proj.lora_A.weight: expected shape [2, 8], got "
                              "[3, 8]"),
                    HasSubstr("layers.1.mlp.down_proj.lora_B.weight: missing"),
                    HasSubstr("lm_head.lora_A.weight: not a tensor of this model")));
  EXPECT_THAT(said_with({{"target_modules", "none"}}), HasSubstr("missing"));
}

TEST_F(LoraFiles, NumbersAreFinite) {
  for (const float number : {NAN, INFINITY, -INFINITY}) {
    auto tensors = tensors_;
    tensors[3].second = tensors[3].second.clone();
    tensors[3].second.index_put_({1, 0}, number);
    EXPECT_THAT(said_of(tensors), HasSubstr("adapter_model.safetensors: " + tensors[3].first +
                                            ": expected finite numbers, got NaN or infinity"));
  }
  auto tensors = tensors_;
  tensors[3].second = at::full_like(tensors[3].second, 1e6);
  EXPECT_EQ(said_of(tensors), "no error");
  EXPECT_THAT(message_of([&] { load_lora(folder_, config_, at::kHalf); }),
              HasSubstr("f16 holds numbers up to 65504"));
}

TEST_F(LoraFiles, OneFileAloneIsAnError) {
  std::filesystem::remove(folder_ / kLoraFile);
  EXPECT_THAT(message_of([&] { load(); }), HasSubstr("adapter_model.safetensors: is missing"));
}

TEST_F(LoraFiles, OfAWholeBlip2AreFound) {
  auto tensors = tensors_;
  for (auto& [name, tensor] : tensors) {
    name.insert(std::string("base_model.model.").size(), "language_model.");
  }
  EXPECT_EQ(said_of(tensors), "no error");
  EXPECT_EQ(load()->adapters().size(), 4);
}

}  // namespace
}  // namespace blip2
