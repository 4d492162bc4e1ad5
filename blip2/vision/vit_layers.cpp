#include "blip2/vision/vit_layers.h"

#include <memory>

#include "blip2/nn/tensor_bridge.h"

namespace blip2 {

at::Tensor add_parameter(torch::nn::Module& root, const std::string& path, at::IntArrayRef shape) {
  const std::size_t dot = path.find('.');
  if (dot != std::string::npos) {
    const std::string name = path.substr(0, dot);
    const auto children = root.named_children();
    const auto* found = children.find(name);
    const auto child =
        found ? *found : root.register_module(name, std::make_shared<torch::nn::Module>());
    return add_parameter(*child, path.substr(dot + 1), shape);
  }
  const c10::InferenceMode no_inference(false);
  return root.register_parameter(path, without_memory(shape));
}

Linear vit_linear(torch::nn::Module& root, const std::string& path, std::int64_t in,
                  std::int64_t out, bool with_bias) {
  const at::Tensor weight = add_parameter(root, path + ".weight", {out, in});
  return Linear(weight, with_bias ? add_parameter(root, path + ".bias", {out}) : at::Tensor());
}

Norm vit_norm(torch::nn::Module& root, const std::string& path, std::int64_t width,
              double epsilon) {
  const at::Tensor weight = add_parameter(root, path + ".weight", {width});
  return {weight, add_parameter(root, path + ".bias", {width}), epsilon};
}

PatchEmbedding::PatchEmbedding(torch::nn::Module& root, const std::string& path,
                               const VitConfig& config, bool with_bias) {
  const std::int64_t p = config.patch_size;
  weight = add_parameter(root, path + ".weight", {config.hidden_size, 3, p, p});
  if (with_bias) bias = add_parameter(root, path + ".bias", {config.hidden_size});
}

at::Tensor PatchEmbedding::operator()(const at::Tensor& pixel_values) const {
  const std::int64_t p = weight.size(2), batch = pixel_values.size(0);
  const std::int64_t rows = pixel_values.size(2) / p, columns = pixel_values.size(3) / p;
  const at::Tensor patches = pixel_values.to(weight.scalar_type())
                                 .view({batch, 3, rows, p, columns, p})
                                 .permute({0, 2, 4, 1, 3, 5})
                                 .reshape({batch, rows * columns, 3 * p * p});  // [B, N, 3pp]
  return at::linear(patches, weight.flatten(1), bias);                          // [B, N, D]
}

VitBlock::VitBlock(torch::nn::Module& root, const std::string& path, const VitBlockNames& names,
                   const VitConfig& config)
    : activation_(config.hidden_act == "gelu"         ? Activation::gelu
                  : config.hidden_act == "quick_gelu" ? Activation::quick_gelu
                                                      : Activation::gelu_tanh),
      heads_(config.num_attention_heads),
      gated_(config.model_type == "dinov2" && config.use_swiglu_ffn) {
  const std::int64_t width = config.hidden_size, inner = config.feed_forward_width();
  const auto at = [&](const char* name) { return path + name; };
  norm1_ = vit_norm(root, at(names.norm1), width, config.layer_norm_eps);
  if (names.fused_qkv) {
    qkv_ = vit_linear(root, at(names.fused_qkv), width, 3 * width, config.qkv_bias);
  } else {
    query_ = vit_linear(root, at(names.query), width, width, config.qkv_bias);
    key_ = vit_linear(root, at(names.key), width, width, config.qkv_bias);
    value_ = vit_linear(root, at(names.value), width, width, config.qkv_bias);
  }
  output_ = vit_linear(root, at(names.output), width, width);
  if (names.scale1) {
    scale1_ = add_parameter(root, at(names.scale1), {width});
    scale2_ = add_parameter(root, at(names.scale2), {width});
  }
  norm2_ = vit_norm(root, at(names.norm2), width, config.layer_norm_eps);
  in_ = vit_linear(root, at(gated_ ? "mlp.weights_in" : "mlp.fc1"), width,
                   gated_ ? 2 * inner : inner);
  out_ = vit_linear(root, at(gated_ ? "mlp.weights_out" : "mlp.fc2"), inner, width);
}

at::Tensor VitBlock::operator()(const at::Tensor& x, const at::Tensor& scales, bool causal) const {
  at::Tensor a = attend(norm1_(x), causal);  // [B, P, D]
  if (scale1_.defined()) a = a * scale1_;    // [B, P, D]
  if (scales.defined()) a = a * scales[0];   // [B, P, D]
  const at::Tensor h = x + a;                // [B, P, D]
  at::Tensor f = feed_forward(norm2_(h));    // [B, P, D]
  if (scale2_.defined()) f = f * scale2_;    // [B, P, D]
  if (scales.defined()) f = f * scales[1];   // [B, P, D]
  return h + f;                              // [B, P, D]
}

std::vector<at::Tensor> VitBlock::parameters() const {
  std::vector<at::Tensor> all{norm1_.weight, norm1_.bias, norm2_.weight,
                              norm2_.bias,   scale1_,     scale2_};
  for (const Linear* linear : {&qkv_, &query_, &key_, &value_, &output_, &in_, &out_}) {
    if (linear->defined()) all.insert(all.end(), {linear->weight(), linear->bias()});
  }
  std::erase_if(all, [](const at::Tensor& parameter) { return !parameter.defined(); });
  return all;
}

at::Tensor VitBlock::attend(const at::Tensor& x, bool causal) const {
  const auto heads = [&](const at::Tensor& t) {
    return t.unflatten(-1, {heads_, -1}).transpose(1, 2);
  };
  at::Tensor q, k, v;  // [B, h, P, D/h]
  if (qkv_.defined()) {
    const auto parts = qkv_(x).chunk(3, -1);  // 3 of [B, P, D]
    q = heads(parts[0]), k = heads(parts[1]), v = heads(parts[2]);
  } else {
    q = heads(query_(x)), k = heads(key_(x)), v = heads(value_(x));
  }
  const at::Tensor seen =
      at::scaled_dot_product_attention(q, k, v, {}, 0, causal);  // [B, h, P, D/h]
  return output_(seen.transpose(1, 2).flatten(2));               // [B, P, D]
}

at::Tensor VitBlock::feed_forward(const at::Tensor& x) const {
  const at::Tensor inner = in_(x);  // [B, P, F]
  if (!gated_) return out_(activate(inner));
  const auto parts = inner.chunk(2, -1);  // 2 of [B, P, F]
  return out_(at::silu(parts[0]) * parts[1]);
}

at::Tensor VitBlock::activate(const at::Tensor& x) const {
  if (activation_ == Activation::gelu) return at::gelu(x);
  if (activation_ == Activation::gelu_tanh) return at::gelu(x, "tanh");
  return x * at::sigmoid(1.702 * x);
}

std::vector<VitBlock> vit_blocks(torch::nn::Module& root, const std::string& prefix,
                                 const VitBlockNames& names, const VitConfig& config) {
  std::vector<VitBlock> blocks;
  for (std::int64_t i = 0; i < config.layers(); ++i) {
    blocks.emplace_back(root, prefix + std::to_string(i) + ".", names, config);
  }
  return blocks;
}

at::Tensor resize_positions(const at::Tensor& table, std::int64_t from, std::int64_t to,
                            bool align_corners) {
  const std::int64_t width = table.size(-1), before = table.size(-2) - from * from;
  const at::Tensor rows = table.reshape({-1, width}).to(at::kFloat);  // [P, D]
  const at::Tensor grid =
      rows.slice(0, before).view({1, from, from, width}).permute({0, 3, 1, 2});  // [1, D, g, g]
  const at::Tensor resized =
      at::upsample_bicubic2d(grid, {to, to}, align_corners);            // [1, D, g', g']
  const at::Tensor patches = resized.flatten(2).squeeze(0).t();         // [N', D]
  const at::Tensor all = at::cat({rows.slice(0, 0, before), patches});  // [P', D]
  return (table.dim() == 3 ? all.unsqueeze(0) : all).to(table.scalar_type()).contiguous();
}

}  // namespace blip2
