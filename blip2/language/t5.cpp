#include "blip2/language/t5.h"

#include <algorithm>

#include "blip2/language/t5_layers_internal.h"

namespace blip2 {
namespace {

using Int = std::int64_t;
using Offsets = std::span<const std::int64_t>;

void check_offsets(Offsets offsets, Int rows, const char* name) {
  TORCH_CHECK(offsets.size() > 1 && offsets.front() == 0 && offsets.back() == rows, name,
              ": offsets must run from 0 to ", rows);
  for (std::size_t i = 1; i < offsets.size(); ++i) {
    TORCH_CHECK(offsets[i] > offsets[i - 1], name, ": sequence ", i - 1, " is empty");
  }
}

Int longest(Offsets offsets) {
  Int length = 0;
  for (std::size_t i = 1; i < offsets.size(); ++i) {
    length = std::max(length, offsets[i] - offsets[i - 1]);
  }
  return length;
}

at::Tensor part(const at::Tensor& x, Offsets offsets, std::size_t i) {
  return x.narrow(0, offsets[i], offsets[i + 1] - offsets[i]);
}

// x + attention to itself; bias [H, T, T] of the longest sequence.
at::Tensor attend_self(const at::Tensor& x, Offsets offsets, const T5Attention& w,
                       const at::Tensor& bias, const T5Config& c, at::ScalarType type) {
  const at::Tensor normed = t5_norm(x, w.norm, type);
  const at::Tensor q = t5_linear(normed, w.q), k = t5_linear(normed, w.k),
                   v = t5_linear(normed, w.v);  // [N, H K]
  std::vector<at::Tensor> mixed;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    const Int length = offsets[i + 1] - offsets[i];
    mixed.push_back(t5_attention(part(q, offsets, i), part(k, offsets, i), part(v, offsets, i),
                                 c.num_heads, bias.narrow(1, 0, length).narrow(2, 0, length)));
  }
  return x + t5_linear(at::cat(mixed), w.o).to(at::kFloat);
}

// x + attention to the encoder's states, which have the products' type.
at::Tensor attend_cross(const at::Tensor& x, Offsets offsets, const at::Tensor& states,
                        Offsets state_offsets, const T5Attention& w, const T5Config& c) {
  const at::Tensor normed = t5_norm(x, w.norm, states.scalar_type());
  const at::Tensor q = t5_linear(normed, w.q), k = t5_linear(states, w.k),
                   v = t5_linear(states, w.v);
  std::vector<at::Tensor> mixed;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    mixed.push_back(t5_attention(part(q, offsets, i), part(k, state_offsets, i),
                                 part(v, state_offsets, i), c.num_heads, {}));
  }
  return x + t5_linear(at::cat(mixed), w.o).to(at::kFloat);
}

}  // namespace

at::Tensor T5::embed(const at::Tensor& ids) const {
  std::vector<std::int64_t> shape = ids.sizes().vec();
  shape.push_back(config().d_model);
  return weights_->embeddings.select(ids.reshape({-1})).view(shape);
}

at::Tensor T5::encode(const at::Tensor& embeds, Offsets offsets) const {
  const T5Config& c = config();
  TORCH_CHECK(embeds.dim() == 2 && embeds.size(1) == c.d_model, "embeds: expected [N, ", c.d_model,
              "], got ", embeds.sizes());
  check_offsets(offsets, embeds.size(0), "encoder");
  const T5Stack& stack = weights_->encoder;
  const at::Tensor bias = t5_position_bias(stack, false, longest(offsets), c);
  at::Tensor x = embeds.to(at::kFloat);  // [N, D]
  for (const T5Layer& layer : stack.layers) {
    x = attend_self(x, offsets, layer.self, bias, c, dtype());
    x = t5_feed_forward(x, layer.feed_forward, dtype());
  }
  return t5_norm(x, stack.norm, at::kFloat);
}

at::Tensor T5::decode(const at::Tensor& states, Offsets offsets, const at::Tensor& inputs,
                      Offsets input_offsets) const {
  const T5Config& c = config();
  check_offsets(offsets, states.size(0), "encoder");
  check_offsets(input_offsets, inputs.size(0), "decoder");
  TORCH_CHECK(offsets.size() == input_offsets.size(), "expected ", offsets.size() - 1,
              " decoder sequences, got ", input_offsets.size() - 1);
  const T5Stack& stack = weights_->decoder;
  const at::Tensor bias = t5_position_bias(stack, true, longest(input_offsets), c);
  const at::Tensor memory = states.to(dtype());  // [N, D]
  at::Tensor x = embed(inputs);                  // [M, D]
  for (const T5Layer& layer : stack.layers) {
    x = attend_self(x, input_offsets, layer.self, bias, c, dtype());
    x = attend_cross(x, input_offsets, memory, offsets, layer.cross, c);
    x = t5_feed_forward(x, layer.feed_forward, dtype());
  }
  return logits(t5_norm(x, stack.norm, at::kFloat));
}

std::int64_t T5::step_bytes() const {
  std::int64_t bytes = weights_->head.bytes();
  for (const T5Layer& layer : weights_->decoder.layers) {
    for (const Linear* linear : {&layer.self.q, &layer.self.k, &layer.self.v, &layer.self.o,
                                 &layer.cross.q, &layer.cross.o, &layer.feed_forward.gate,
                                 &layer.feed_forward.up, &layer.feed_forward.down}) {
      bytes += linear->bytes();
    }
  }
  return bytes;
}

at::Tensor T5::logits(const at::Tensor& hidden) const {
  const T5Config& c = config();
  const double scale =
      c.scale_decoder_outputs ? 1.0 / std::sqrt(static_cast<double>(c.d_model)) : 1.0;
  return t5_linear((hidden * scale).to(dtype()), weights_->head).to(at::kFloat);
}

std::shared_ptr<T5> load_t5(std::shared_ptr<const TensorFile> file, const T5Config& config,
                            at::ScalarType dtype, const std::string& prefix, MatrixForm form) {
  return std::make_shared<T5>(load_t5_weights(std::move(file), config, dtype, prefix, form));
}

}  // namespace blip2
