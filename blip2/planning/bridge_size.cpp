#include "blip2/planning/bridge_size_internal.h"

#include "blip2/language/frozen_language.h"
#include "blip2/tasks/stage1_objectives.h"
#include "blip2/tasks/trained_config.h"

namespace blip2 {
namespace {

using Int = std::int64_t;

Int linear(Int ins, Int outs) {
  return ins * outs + outs;
}

// What a gradient of the recipe's objectives reaches; in stage 2 nothing of that.
Stage1Reach reach_of(const Recipe& recipe) {
  return recipe.stage == 1 ? stage1_reach(stage1_weights(recipe.objectives)) : Stage1Reach{};
}

TrainedPart qformer_size(const QFormerConfig& c, const Recipe& recipe) {
  const bool reads_text = recipe.stage == 1 || recipe.prompt.to_qformer;
  const bool last_text = reach_of(recipe).last_text_layer;
  const bool language = recipe.stage == 2 || reads_language(stage1_weights(recipe.objectives));
  const Int d = c.hidden_size, f = c.intermediate_size;
  TrainedPart size;
  const auto add = [&](Int count, bool trained) {
    (trained ? size.trained : size.frozen) += count;
  };
  add(2 * d, true);
  if (c.use_qformer_text_input) {
    add(c.vocab_size * d, reads_text && recipe.train_word_embeddings);
    add(c.max_position_embeddings * d, reads_text);
  }
  const Int feed_forward = linear(d, f) + linear(f, d) + 2 * d;
  for (Int layer = 0; layer < c.num_hidden_layers; ++layer) {
    add(4 * linear(d, d) + 2 * d + feed_forward, true);
    const bool last = layer + 1 == c.num_hidden_layers;
    if (c.use_qformer_text_input) add(feed_forward, reads_text && (!last || last_text));
    if (!c.crosses(layer)) continue;
    add(2 * linear(d, d) + 2 * linear(c.encoder_hidden_size, d) + 2 * d, true);
    if (c.reads_language()) add(2 * linear(c.language_hidden_size, d), language);
  }
  return size;
}

TrainedPart heads_size(const Blip2Config& config, const Recipe& recipe) {
  TrainedPart size;
  if (recipe.stage == 2 || !config.stage1_heads) return size;  // stage 2 leaves them out
  const Stage1Reach reach = reach_of(recipe);
  const Int d = config.qformer.hidden_size;
  const auto add = [&](Int count, bool trained) {
    (trained ? size.trained : size.frozen) += count;
  };
  add(2 * linear(d, config.image_text_hidden_size) + 1, reach.projections);
  add(linear(d, 2), reach.matching_head);
  add(linear(d, d) + 2 * d + config.qformer.vocab_size, reach.word_head);
  return size;
}

}  // namespace

BridgeSize bridge_size(const Blip2Config& config, const Recipe& recipe) {
  BridgeSize size;
  const Int d = config.qformer.hidden_size;
  size.queries.trained = config.num_query_tokens * d;
  size.norm.trained = 2 * config.qformer.encoder_hidden_size;
  const bool reads = trains_reads(config, recipe);
  (reads ? size.norm.trained : size.norm.frozen) += 2 * config.qformer.language_hidden_size;
  size.qformer = qformer_size(config.qformer, recipe);
  size.heads = heads_size(config, recipe);
  const bool trains_projection = recipe.stage == 2 || recipe.objectives.words > 0;
  if (config.language) {
    const Int count = linear(d, language_width(*config.language));
    (trains_projection ? size.projection.trained : size.projection.frozen) = count;
  }
  size.in_optimizer = size.all() - (trains_projection ? 0 : size.projection.frozen);
  if (!recipe.train_word_embeddings && config.qformer.use_qformer_text_input) {
    size.in_optimizer -= config.qformer.vocab_size * d;
  }
  return size;
}

}  // namespace blip2
