#include "blip2/vision/vit_layers.h"

#include <cmath>
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

Norm vit_norm(torch::nn::Module& root, const std::string& path, std::int64_t width, double epsilon,
              Norm::Kind kind) {
  const at::Tensor weight = add_parameter(root, path + ".weight", {width});
  if (kind == Norm::Kind::rms) return {weight, at::Tensor(), epsilon, kind};
  return {weight, add_parameter(root, path + ".bias", {width}), epsilon};
}

PatchEmbedding::PatchEmbedding(torch::nn::Module& root, const std::string& path,
                               const VitConfig& config, bool with_bias)
    : patch(config.patch_size) {
  const std::vector<std::int64_t> patches =
      config.is_naflex() ? std::vector{config.hidden_size, 3 * patch * patch}
                         : std::vector<std::int64_t>{config.hidden_size, 3, patch, patch};
  weight = add_parameter(root, path + ".weight", patches);
  if (with_bias) bias = add_parameter(root, path + ".bias", {config.hidden_size});
}

at::Tensor PatchEmbedding::operator()(const at::Tensor& pixel_values) const {
  const std::int64_t p = patch, batch = pixel_values.size(0);
  const std::int64_t rows = pixel_values.size(2) / p, columns = pixel_values.size(3) / p;
  const at::Tensor parts =
      pixel_values.to(weight.scalar_type()).view({batch, 3, rows, p, columns, p});
  const at::Tensor patches =
      (weight.dim() == 2 ? parts.permute({0, 2, 4, 3, 5, 1}) : parts.permute({0, 2, 4, 1, 3, 5}))
          .reshape({batch, rows * columns, 3 * p * p});  // [B, N, 3pp]
  return at::linear(patches, weight.flatten(1), bias);   // [B, N, D]
}

PatchRotation patch_rotation(std::int64_t rows, std::int64_t columns, const VitConfig& config) {
  const std::int64_t quarter = config.hidden_size / config.num_attention_heads / 4;
  const at::Tensor speed =
      2 * M_PI / at::pow(config.rope_theta, at::arange(quarter, at::kFloat) / quarter);  // [D/4h]
  const auto places = [](std::int64_t count) {
    return (2 * (at::arange(count, at::kFloat) + 0.5) / count - 1).unsqueeze(1);  // [count, 1]
  };
  const at::Tensor down = (places(rows) * speed).unsqueeze(1).expand({-1, columns, -1});
  const at::Tensor across = (places(columns) * speed).unsqueeze(0).expand({rows, -1, -1});
  const at::Tensor angles = at::cat({down, across}, 2).flatten(0, 1);  // [N, D/2h]
  return {angles.cos(), angles.sin()};
}

VitBlock::Activation VitBlock::activation_of(const VitConfig& config) {
  if (config.hidden_act == "silu" || config.use_swiglu_ffn) return Activation::silu;
  if (config.hidden_act == "quick_gelu") return Activation::quick_gelu;
  return config.hidden_act == "gelu" ? Activation::gelu : Activation::gelu_tanh;
}

VitBlock::VitBlock(torch::nn::Module& root, const std::string& path, const VitBlockNames& names,
                   const VitConfig& config)
    : activation_(activation_of(config)),
      heads_(config.num_attention_heads),
      gated_(config.has_gated_mlp()) {
  const std::int64_t width = config.hidden_size;
  const Norm::Kind kind = config.is_aimv2() ? Norm::Kind::rms : Norm::Kind::layer;
  const bool each = config.is_dinov3();  // says of each bias whether there is one
  const auto at = [&](const char* name) { return path + name; };
  const auto linear = [&](const char* name, std::int64_t in, std::int64_t out, bool bias) {
    return vit_linear(root, at(name), in, out, bias);
  };
  norm1_ = vit_norm(root, at(names.norm1), width, config.norm_eps(), kind);
  if (names.fused_qkv) {
    qkv_ = linear(names.fused_qkv, width, 3 * width, config.qkv_bias);
  } else {
    query_ = linear(names.query, width, width, each ? config.query_bias : config.qkv_bias);
    key_ = linear(names.key, width, width, each ? config.key_bias : config.qkv_bias);
    value_ = linear(names.value, width, width, each ? config.value_bias : config.qkv_bias);
  }
  output_ = linear(names.output, width, width,
                   each ? config.proj_bias : !config.is_aimv2() || config.qkv_bias);
  if (names.scale1) {
    scale1_ = add_parameter(root, at(names.scale1), {width});
    scale2_ = add_parameter(root, at(names.scale2), {width});
  }
  norm2_ = vit_norm(root, at(names.norm2), width, config.norm_eps(), kind);
  add_feed_forward(root, path, names, config);
}

void VitBlock::add_feed_forward(torch::nn::Module& root, const std::string& path,
                                const VitBlockNames& names, const VitConfig& config) {
  const std::int64_t width = config.hidden_size, inner = config.feed_forward_width();
  const auto linear = [&](const char* name, std::int64_t in, std::int64_t out) {
    return vit_linear(root, path + name, in, out, config.mlp_bias);
  };
  const bool fused = gated_ && names.fused_in;
  if (fused) {
    in_ = linear(names.fused_in, width, 2 * inner);
  } else if (gated_) {
    in_ = linear(names.gate, width, inner);
    in_.parts.push_back(linear(names.in, width, inner).parts[0]);
    in_.hold(MatrixForm::stored);
  } else {
    in_ = linear(names.in, width, inner);
  }
  out_ = linear(fused ? names.fused_out : names.out, inner, width);
}

at::Tensor VitBlock::operator()(const at::Tensor& x, const at::Tensor& scales,
                                const PatchRotation& rotation, bool causal) const {
  at::Tensor a = attend(norm1_(x).to(x.scalar_type()), rotation, causal);  // [B, P, D]
  if (scale1_.defined()) a = a * scale1_;                                  // [B, P, D]
  if (scales.defined()) a = a * scales[0];                                 // [B, P, D]
  const at::Tensor h = x + a;                                              // [B, P, D]
  at::Tensor f = feed_forward(norm2_(h).to(h.scalar_type()));              // [B, P, D]
  if (scale2_.defined()) f = f * scale2_;                                  // [B, P, D]
  if (scales.defined()) f = f * scales[1];                                 // [B, P, D]
  return h + f;                                                            // [B, P, D]
}

std::vector<at::Tensor> VitBlock::parameters() const {
  std::vector<at::Tensor> all{norm1_.weight, norm1_.bias, norm2_.weight,
                              norm2_.bias,   scale1_,     scale2_};
  for (const Linear* linear : {&qkv_, &query_, &key_, &value_, &output_, &in_, &out_}) {
    for (const Linear::Part& part : linear->parts) {
      all.insert(all.end(), {part.weight, part.bias});
    }
  }
  std::erase_if(all, [](const at::Tensor& parameter) { return !parameter.defined(); });
  return all;
}

namespace {

// The last positions of [B, h, P, D/h] turned.
at::Tensor turn(const at::Tensor& x, const PatchRotation& rotation) {
  const std::int64_t patches = rotation.cos.size(0), before = x.size(2) - patches;
  const auto halves = x.narrow(2, before, patches).chunk(2, -1);  // 2 of [B, h, N, D/2h]
  const at::Tensor cos = rotation.cos.to(x.scalar_type()), sin = rotation.sin.to(x.scalar_type());
  const at::Tensor turned =
      at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1);
  return at::cat({x.narrow(2, 0, before), turned}, 2);
}

}  // namespace

at::Tensor VitBlock::attend(const at::Tensor& x, const PatchRotation& rotation, bool causal) const {
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
  if (rotation.cos.defined()) q = turn(q, rotation), k = turn(k, rotation);
  const at::Tensor seen =
      at::scaled_dot_product_attention(q, k, v, {}, 0, causal);  // [B, h, P, D/h]
  return output_(seen.transpose(1, 2).flatten(2));               // [B, P, D]
}

at::Tensor VitBlock::feed_forward(const at::Tensor& x) const {
  if (!gated_) return out_(activate(in_(x)));
  std::vector<at::Tensor> parts;  // 2 of [B, P, F]
  for (const Linear::Part& part : in_.parts) parts.push_back(at::linear(x, part.weight, part.bias));
  if (parts.size() == 1) parts = parts[0].chunk(2, -1);
  return out_(activate(parts[0]) * parts[1]);
}

at::Tensor VitBlock::activate(const at::Tensor& x) const {
  if (activation_ == Activation::gelu) return at::gelu(x);
  if (activation_ == Activation::gelu_tanh) return at::gelu(x, "tanh");
  if (activation_ == Activation::silu) return at::silu(x);
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

namespace {

at::Tensor resize_grid(const at::Tensor& grid, at::IntArrayRef size, TableFilter filter) {
  switch (filter) {
    case TableFilter::bicubic:
    case TableFilter::bicubic_aligned:
      return at::upsample_bicubic2d(grid, size, filter == TableFilter::bicubic_aligned);
    case TableFilter::bicubic_antialias:
      return at::_upsample_bicubic2d_aa(grid, size, false);
    case TableFilter::bilinear_antialias:
      return at::_upsample_bilinear2d_aa(grid, size, false);
  }
  return grid;
}

}  // namespace

at::Tensor resize_positions(const at::Tensor& table, std::int64_t from, std::int64_t to_rows,
                            std::int64_t columns, TableFilter filter) {
  const std::int64_t width = table.size(-1), before = table.size(-2) - from * from;
  const at::Tensor rows = table.reshape({-1, width}).to(at::kFloat);  // [P, D]
  const at::Tensor grid =
      rows.slice(0, before).view({1, from, from, width}).permute({0, 3, 1, 2});  // [1, D, g, g]
  const at::Tensor resized = resize_grid(grid, {to_rows, columns}, filter);      // [1, D, r, c]
  const at::Tensor patches = resized.flatten(2).squeeze(0).t();                  // [N', D]
  const at::Tensor all = at::cat({rows.slice(0, 0, before), patches});           // [P', D]
  return (table.dim() == 3 ? all.unsqueeze(0) : all).to(table.scalar_type()).contiguous();
}

at::Tensor wave_positions(std::int64_t rows, std::int64_t columns, std::int64_t width) {
  const std::int64_t quarter = width / 4;
  const at::Tensor speed = at::pow(10000.0, -at::arange(quarter, at::kDouble) / quarter);  // [D/4]
  const auto waves = [&](std::int64_t count) {
    const at::Tensor angles = at::outer(at::arange(count, at::kDouble), speed);  // [count, D/4]
    return at::cat({angles.sin(), angles.cos()}, 1);                             // [count, D/2]
  };
  const at::Tensor across = waves(columns).unsqueeze(0).expand({rows, -1, -1});
  const at::Tensor down = waves(rows).unsqueeze(1).expand({-1, columns, -1});
  return at::cat({across, down}, 2).flatten(0, 1).to(at::kFloat);  // [N, D]
}

}  // namespace blip2
