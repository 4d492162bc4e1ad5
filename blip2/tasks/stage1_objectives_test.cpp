#include "blip2/tasks/stage1_objectives.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;

at::Tensor ids(std::vector<std::int64_t> values) {
  return at::tensor(values, at::kLong);
}

struct TinyStage1 {
  TinyStage1() : qformer(config(), 1), heads(config(), 8, 2) {}

  static QFormerConfig config() {
    QFormerConfig config;
    config.vocab_size = 20;
    config.hidden_size = 12;
    config.num_hidden_layers = 2;
    config.num_attention_heads = 2;
    config.intermediate_size = 16;
    config.max_position_embeddings = 8;
    config.encoder_hidden_size = 10;
    config.use_qformer_text_input = true;
    return config;
  }
  TaskLoss loss(const Stage1Batch& batch) const {
    const std::vector<double> weights = stage1_weights(ObjectivesRecipe{});
    const Stage1Step step({qformer, heads, tokens}, batch,
                          {.compute = {}, .passes = shared_passes(weights), .decoder_token = 19});
    return stage1_loss(step, {}, weights);
  }
  static double meter(const TaskLoss& loss, const std::string& name) {
    for (const Meter& meter : loss.meters) {
      if (meter.name == name) return meter.value;
    }
    throw Error("no meter", name);
  }

  QFormer qformer;
  Stage1Heads heads;
  at::Tensor tokens = random_query_tokens(2, 12, 3);
};

TEST(Stage1, BatchOfOneAndBatchOfOnePictureHaveFiniteLosses) {
  torch::manual_seed(1);
  const TinyStage1 model;
  const TaskLoss one = model.loss({at::randn({1, 3, 10}), {ids({1, 2}), {2}}, ids({0}), ids({0})});
  EXPECT_TRUE(std::isfinite(one.loss.item<double>()));
  EXPECT_EQ(TinyStage1::meter(one, "itm"), 0);
  const TaskLoss same = model.loss({at::randn({3, 3, 10}),
                                    {ids({1, 2, 1, 1, 3, 2}), {2, 1, 3}},
                                    ids({4, 4, 4}),
                                    ids({0, 1, 2})});
  EXPECT_TRUE(std::isfinite(same.loss.item<double>()));
  same.loss.backward();
  const TaskLoss wordless =
      model.loss({at::randn({2, 3, 10}), {ids({1, 1}), {1, 1}}, ids({0, 1}), ids({0, 1})});
  EXPECT_EQ(TinyStage1::meter(wordless, "itg"), 0);
}

TEST(Stage1, RefusesABatchThatDoesNotFit) {
  const TinyStage1 model;
  const TextRows text{ids({1, 2}), {2}};
  EXPECT_THROW(model.loss({at::randn({2, 3, 10}), text, ids({0}), ids({0})}), Error);
  EXPECT_THROW(model.loss({at::randn({1, 3, 9}), text, ids({0}), ids({0})}), Error);
  EXPECT_THROW(model.loss({at::randn({1, 3, 10}), {ids({1, 25}), {2}}, ids({0}), ids({0})}), Error);
}

TEST(Stage1Objectives, StartLateAndPauseAtFullWeight) {
  ObjectivesRecipe recipe;
  recipe.itm = 0.5;
  recipe.itm_from = 2;
  recipe.itm_every = 3;
  recipe.itg_every = 2;
  EXPECT_THAT(stage1_weights(recipe), ElementsAre(1, 0.5, 1, 0, 0));
  EXPECT_THAT(stage1_weights(recipe, 0), ElementsAre(1, 0, 1, 0, 0));
  EXPECT_THAT(stage1_weights(recipe, 1), ElementsAre(1, 0, 0, 0, 0));
  EXPECT_THAT(stage1_weights(recipe, 2), ElementsAre(1, 0.5, 1, 0, 0));
  EXPECT_THAT(stage1_weights(recipe, 4), ElementsAre(1, 0, 1, 0, 0));
  EXPECT_THAT(stage1_weights(recipe, 5), ElementsAre(1, 0.5, 0, 0, 0));
}

}  // namespace
}  // namespace blip2
