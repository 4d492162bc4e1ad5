#include "blip2/costs/qformer_cost.h"

#include <algorithm>

#include "blip2/nn/padded_rows.h"

namespace blip2 {
namespace {

using Int = std::int64_t;

}  // namespace

QFormerCost::QFormerCost(const Blip2Config& config, std::int64_t positions, double type_bytes)
    : c_(config.qformer),
      queries_(config.num_query_tokens),
      positions_(positions),
      type_(type_bytes),
      d_(static_cast<double>(c_.hidden_size)),
      f_(static_cast<double>(c_.intermediate_size)) {}

void QFormerCost::run(const std::vector<PassRow>& rows, const std::vector<Int>& texts, bool trains,
                      const std::vector<Int>& language) {
  Int pictures = 0;
  for (const PassRow& row : rows) pictures = std::max(pictures, row.image + 1);
  const PackedRows packed = pack_rows(
      rows, {.layers = c_.num_hidden_layers,
             .cross_attention_frequency = c_.cross_attention_frequency,
             .queries = queries_,
             .positions = std::vector<Int>(static_cast<std::size_t>(pictures), positions_),
             .text_lengths = texts,
             .language_lengths = language});
  const Flops before = flops;
  if (!language.empty()) project_language(total_of(language));
  for (Int l = 0; l < c_.num_hidden_layers; ++l) {
    layer(packed.layers[static_cast<std::size_t>(l)], c_.crosses(l), trains);
  }
  if (!trains) {
    flops.backward = before.backward;
    return;
  }
  // Embeddings: their sum, its norm and the gradient's table of words.
  const double read = total_of(texts) + static_cast<double>(packed.has_queries ? queries_ : 0);
  bytes += 4 * kF32Bytes * read * d_;
  if (!texts.empty()) tables += 1;
}

// States have no gradient; they are kept as they are read, in f32 and in compute type.
void QFormerCost::project_language(double rows) {
  const auto width = static_cast<double>(c_.language_hidden_size);
  bytes += rows * width * (kF32Bytes + type_);
  for (Int l = 0; l < c_.num_hidden_layers; ++l) {
    if (!c_.crosses(l)) continue;
    flops += product_flops(rows, width, 2 * d_, /*input_gradient=*/false);
    keep(rows * 2 * d_);
  }
}

double QFormerCost::padded(Int rows) const {
  return static_cast<double>(type_ == kF32Bytes ? rows : padded_rows(rows));
}

void QFormerCost::layer(const PackedLayer& packed, bool crosses, bool trains) {
  const Int read = packed.after_self.inputs, rows = packed.after_self.outputs();
  multiply(read, d_, 3 * d_);
  attend(packed.self);
  multiply(rows, d_, d_);
  if (trains) {
    keep(padded(read) * 4 * d_);  // what the layer reads, queries, keys and values
    keep_attention(rows);
  }
  if (crosses && packed.query_rows > 0) {
    multiply(packed.self_query_rows, d_, d_);
    attend(packed.cross);
    multiply(packed.query_rows, d_, d_);
    if (trains) {
      keep(padded(packed.self_query_rows) * 2 * d_);
      keep_attention(packed.query_rows);
    }
  }
  feed_forward(packed.query_rows, trains);
  feed_forward(packed.text_rows, trains);
}

// The result of attention (twice where it was padded), its product, sums and statistics.
void QFormerCost::keep_attention(Int rows) {
  keep(static_cast<double>(rows) * d_ + (type_ == kF32Bytes ? 1 : 2) * padded(rows) * d_);
  bytes +=
      kF32Bytes * static_cast<double>(rows) * (static_cast<double>(c_.num_attention_heads) + 2);
}

void QFormerCost::feed_forward(Int rows, bool trains) {
  multiply(rows, d_, f_);
  multiply(rows, f_, d_);
  if (trains) keep(padded(rows) * (2 * d_ + 2 * f_));
}

void QFormerCost::multiply(Int rows, double ins, double outs) {
  flops += product_flops(static_cast<double>(rows), ins, outs);
}

void QFormerCost::attend(const std::vector<AttentionSegment>& segments) {
  double scores = 0;
  for (const AttentionSegment& s : segments) {
    scores += static_cast<double>(s.q_count) * static_cast<double>(s.a_count + s.b_count);
  }
  flops += {4 * scores * d_, 8 * scores * d_};
}

double pass_weight_bytes(const QFormerConfig& c, std::int64_t type_bytes) {
  const auto d = static_cast<double>(c.hidden_size), f = static_cast<double>(c.intermediate_size),
             features = static_cast<double>(c.encoder_hidden_size);
  const double copy = type_bytes == 4 ? 0 : static_cast<double>(type_bytes);
  double bytes = 0;
  for (Int layer = 0; layer < c.num_hidden_layers; ++layer) {
    bytes += 3 * d * d * (kF32Bytes + copy) + copy * (d * d + 2 * d * f);
    if (c.use_qformer_text_input) bytes += copy * 2 * d * f;
    if (c.crosses(layer)) {
      const double read = features + static_cast<double>(c.language_hidden_size);
      bytes += copy * 2 * d * d + 2 * d * read * (2 * kF32Bytes + copy);
    }
  }
  if (c.use_qformer_text_input) bytes += copy * static_cast<double>(c.vocab_size) * d;
  return bytes;
}

}  // namespace blip2
