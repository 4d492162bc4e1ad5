#include "blip2/training/plan_parts.h"

#include <numeric>
#include <string>
#include <utility>
#include <variant>

#include "blip2/training/stage1_objectives.h"
#include "blip2/vision/efficientnet_lite.h"
#include "blip2/vision/resnet.h"
#include "blip2/vision/vit.h"

namespace blip2 {
namespace {

using Int = std::int64_t;

Int half(Int side) {
  return (side + 1) / 2;
}

// Every product of a vision transformer is of all positions with a matrix, but the patches' own.
double vit_flops(const Vit& vit) {
  const auto grid = static_cast<double>(vit.config().grid() * vit.config().grid());
  const auto positions = static_cast<double>(vit.positions()),
             width = static_cast<double>(vit.width());
  double flops = 0;
  for (const auto& item : vit.named_parameters()) {
    const auto size = static_cast<double>(item.value().numel());
    if (item.value().dim() == 4) flops += 2 * grid * size;
    if (item.value().dim() == 2 && item.key().find("embedding") == std::string::npos) {
      flops += 2 * positions * size;
    }
  }
  return flops + 4 * positions * positions * width * static_cast<double>(vit.config().layers());
}

// Convolutions in the order in which they run. A shortcut reads what its layer reads.
double convolution_flops(const torch::nn::Module& network, Int side) {
  double flops = 0;
  std::string layer;
  Int layer_side = side;
  bool pooled = false;
  for (const auto& item : network.named_modules({}, /*include_self=*/false)) {
    const auto* convolution = item.value()->as<torch::nn::Conv2dImpl>();
    if (!convolution) continue;
    const std::string& name = item.key();
    if (!pooled && name.starts_with("encoder.")) {  // ResNet's pooling before its stages
      side = half(side);
      pooled = true;
    }
    const std::size_t inner = std::min(name.find(".shortcut."), name.find(".layer."));
    if (const std::string outer = name.substr(0, inner); outer != layer) {
      layer = outer;
      layer_side = side;
    }
    const auto& options = convolution->options;
    const bool halves = (*options.stride())[0] == 2;
    const bool shortcut = name.find(".shortcut.") != std::string::npos;
    const Int from = shortcut ? layer_side : side, out = halves ? half(from) : from;
    flops += 2 * static_cast<double>(convolution->weight.numel() * out * out);
    if (!shortcut) side = out;
  }
  return flops;
}

Int parameters_of(const torch::nn::Module& module) {
  Int count = 0;
  for (const at::Tensor& parameter : module.parameters()) count += parameter.numel();
  return count;
}

EncoderSize size_of(const ImageEncoder& encoder, Int side, double flops) {
  return {parameters_of(encoder), encoder.positions(), encoder.width(), 3 * side * side, flops};
}

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

double total_of(const std::vector<std::int64_t>& lengths) {
  return static_cast<double>(std::accumulate(lengths.begin(), lengths.end(), Int{0}));
}

Flops product_flops(double rows, double ins, double outs, bool input_gradient,
                    bool weight_gradient) {
  const double once = 2 * rows * ins * outs;
  return {once, once * (input_gradient + weight_gradient)};
}

EncoderSize encoder_size(const VisionConfig& config) {
  if (const auto* vit = std::get_if<VitConfig>(&config)) {
    const Vit encoder(*vit);  // its parameters have shapes and no memory
    return size_of(encoder, vit->image_size, vit_flops(encoder));
  }
  if (const auto* resnet = std::get_if<ResNetConfig>(&config)) {
    const ResNet encoder(*resnet);
    return size_of(encoder, resnet->image_size, convolution_flops(encoder, resnet->image_size));
  }
  const auto& lite = std::get<EfficientNetLiteConfig>(config);
  const EfficientNetLite encoder(lite);
  return size_of(encoder, lite.image_size, convolution_flops(encoder, lite.image_size));
}

BridgeSize bridge_size(const Blip2Config& config, const Recipe& recipe) {
  BridgeSize size;
  const Int d = config.qformer.hidden_size;
  size.queries.trained = config.num_query_tokens * d;
  size.norm.trained = 2 * config.qformer.encoder_hidden_size;
  size.qformer = qformer_size(config.qformer, recipe);
  size.heads = heads_size(config, recipe);
  const bool speaks = recipe.stage == 2 || recipe.objectives.words > 0;
  if (config.language) {
    const Int count = linear(d, language_width(*config.language));
    (speaks ? size.projection.trained : size.projection.frozen) = count;
  }
  size.in_optimizer = size.all() - (speaks ? 0 : size.projection.frozen);
  if (!recipe.train_word_embeddings && config.qformer.use_qformer_text_input) {
    size.in_optimizer -= config.qformer.vocab_size * d;
  }
  return size;
}

}  // namespace blip2
