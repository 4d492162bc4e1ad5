#include "blip2/qformer/pass.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/nn/padded_rows.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/qformer/layer_functions_internal.h"
#include "blip2/qformer/pass_rows_internal.h"
#include "blip2/qformer/pass_weights_internal.h"

namespace blip2 {
namespace {

enum Purpose : std::uint64_t { kApart = 1, kJoint = 2, kEmbedding = 3, kSelf = 4 };

at::Tensor embedding_dropout(const at::Tensor& x, double probability, std::uint64_t seed) {
  if (probability == 0) return x;
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  const at::Tensor kept = at::empty_like(x).bernoulli_(1 - probability, generator);
  return x * kept.div_(1 - probability);
}

void check_text(const TextRows& text, const QFormerConfig& config) {
  const auto fail = [](const std::string& message) {
    throw Error(message, "text of the Q-Former", "is this the Q-Former's own tokenizer?");
  };
  if (!config.use_qformer_text_input) fail("this Q-Former has no text side");
  for (std::int64_t length : text.lengths) {
    if (length < 1 || length > config.max_position_embeddings) {
      fail(fmt::format("expected texts of 1 to {} tokens, got {}", config.max_position_embeddings,
                       length));
    }
  }
  if (text.ids.dim() != 1 || text.ids.scalar_type() != at::kLong ||
      text.ids.size(0) != text.offsets().back()) {
    fail(fmt::format("expected int64 ids [{}], got {}", text.offsets().back(),
                     shape_text(text.ids.sizes())));
  }
  const at::Tensor ids = text.ids.contiguous();
  for (std::int64_t i = 0; i < ids.numel(); ++i) {
    const std::int64_t id = ids.const_data_ptr<std::int64_t>()[i];
    if (id < 0 || id >= config.vocab_size) {
      fail(fmt::format("expected ids of 0 to {}, got {}", config.vocab_size - 1, id));
    }
  }
}

// 0, 1, ... for each text.
at::Tensor positions_of(const TextRows& text) {
  at::Tensor positions = at::empty({text.ids.size(0)}, at::kLong);
  auto* out = positions.mutable_data_ptr<std::int64_t>();
  for (std::int64_t length : text.lengths) {
    std::iota(out, out + length, 0);
    out += length;
  }
  return positions;
}

void check_queries(const at::Tensor& query_tokens, const QFormerConfig& config) {
  if (query_tokens.dim() == 3 && query_tokens.size(0) == 1 && query_tokens.size(1) > 0 &&
      query_tokens.size(2) == config.hidden_size) {
    return;
  }
  throw Error(fmt::format("expected query tokens [1, Q, {}], got {}", config.hidden_size,
                          shape_text(query_tokens.sizes())),
              "Q-Former");
}

void check_features(const ImageFeatures& features, const QFormerConfig& config) {
  const bool seen = std::ranges::all_of(features.positions, [](auto count) { return count > 0; });
  if (seen && features.rows.size(1) == config.encoder_hidden_size) return;
  throw Error(fmt::format("expected image features [B, P, {}], got {} of {} numbers",
                          config.encoder_hidden_size,
                          seen ? "positions" : "a picture without positions and others",
                          features.rows.size(1)),
              "Q-Former", "is the picture's encoder the one this Q-Former was made for?");
}

// Rows of features as rows of `type`, which the products of all layers read as they are.
at::Tensor feature_rows(const at::Tensor& rows, at::ScalarType type) {
  if (type == at::kFloat) return rows.to(type).contiguous();
  return padded_empty(rows.size(0), rows.size(1), rows.options().dtype(type)).copy_(rows);
}

at::Tensor output(const at::Tensor& x, const OutputWeights& weights, const at::Tensor& residual,
                  const Continuation& rows, const Dropout& dropout) {
  return add_norm(weights.dense.without_bias(x), weights.dense.bias(), residual, rows, weights.norm,
                  dropout);
}

at::Tensor feed_forward(const at::Tensor& x, const FeedForwardWeights& weights,
                        const Dropout& dropout) {
  const at::Tensor inner = gelu_of(weights.up.without_bias(x), weights.up.bias());  // [M, 4D]
  return output(inner, weights.down, x, Continuation{.source = {}, .identity = true}, dropout);
}

// Rows of `x` in the given order; `x` itself if the order does not change.
at::Tensor select_rows(const at::Tensor& x, const std::vector<std::int64_t>& rows) {
  bool consecutive = !rows.empty();
  for (std::size_t i = 1; consecutive && i < rows.size(); ++i) {
    consecutive = rows[i] == rows[i - 1] + 1;
  }
  if (consecutive) return x.narrow(0, rows[0], static_cast<std::int64_t>(rows.size()));
  return x.index_select(0, at::tensor(rows, at::kLong));
}

std::vector<std::int64_t> rows_of_blocks(const std::vector<std::int64_t>& blocks,
                                         std::int64_t size) {
  std::vector<std::int64_t> rows;
  for (std::int64_t block : blocks) {
    for (std::int64_t i = 0; i < size; ++i) rows.push_back(block + i);
  }
  return rows;
}

// What a layer's cross-attention reads: the pictures' keys and values, or those of a language
// model's states with the pictures' as external ones (PackShape::language_lengths).
struct CrossKeys {
  at::Tensor own, external;
};
CrossKeys cross_keys(std::int64_t layer, const ImageKeysValues* images,
                     const LanguageKeysValues* language) {
  if (!images) return {};
  if (!language) return {images->layers[layer], {}};
  return {language->layers[layer], images->layers[layer]};
}

// One layer's computation.
struct LayerRun {
  const QFormerConfig& config;
  const LayerWeights& weights;
  const PackedLayer& packed;
  bool training;
  std::uint64_t seed;

  Dropout hidden(std::uint64_t place) const {
    return {training ? config.hidden_dropout_prob : 0, derive_seed(seed, place)};
  }
  Dropout attention(std::uint64_t place) const {
    return {training ? config.attention_probs_dropout_prob : 0, derive_seed(seed, place)};
  }

  // x [M,D], its qkv [M,3D] -> the layer's result, queries first.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& qkv, const at::Tensor& external,
                        const CrossKeys& keys) const {
    at::Tensor y = self_attention(qkv, external, packed.self, packed.after_self.outputs(),
                                  config.num_attention_heads, attention(0));
    y = output(y, weights.output, x, packed.after_self, hidden(1));
    if (packed.text_rows == 0) return queries_part(y, keys);
    if (packed.query_rows == 0) return feed_forward(y, *weights.text, hidden(5));
    const auto parts = y.split_with_sizes({packed.self_query_rows, packed.text_rows});
    return join_rows(queries_part(parts[0], keys),
                     feed_forward(parts[1], *weights.text, hidden(5)));
  }

  at::Tensor queries_part(const at::Tensor& y, const CrossKeys& keys) const {
    return feed_forward(weights.cross ? cross(y, keys) : y, weights.queries, hidden(4));
  }

  at::Tensor cross(const at::Tensor& x, const CrossKeys& keys) const {
    const at::Tensor y =
        cross_attention(weights.cross->query(x), keys.own, keys.external, packed.cross,
                        packed.after_cross.outputs(), config.num_attention_heads, attention(2));
    return output(y, weights.cross->output, x, packed.after_cross, hidden(3));
  }
};

}  // namespace

struct QFormerPass::Result {
  at::Tensor queries, text;
  std::vector<at::Tensor> keys;
};

QFormerPass::QFormerPass(const QFormer& model, const ComputeOptions& options)
    : config_(model.config()), options_(options) {
  if (options.type != at::kFloat && options.type != at::kBFloat16) {
    throw Error(fmt::format("expected compute type f32 or bf16, got {}", toString(options.type)),
                "Q-Former");
  }
  weights_ = std::make_shared<const PassWeights>(model, options.type);
}

QFormerPass QFormerPass::reseeded(std::uint64_t purpose) const {
  QFormerPass other = *this;
  other.options_.seed = derive_seed(options_.seed, purpose);
  return other;
}

const at::Tensor& QFormerPass::words() const {
  return weights_->words;
}
const at::Tensor& QFormerPass::compute_words() const {
  return weights_->compute_words();
}

ImageKeysValues QFormerPass::project_image(const ImageFeatures& features) const {
  check_features(features, config_);
  ImageKeysValues result{{}, features.positions};
  const at::Tensor x = feature_rows(features.rows, options_.type);  // [sum of P_i, De]
  for (const LayerWeights& layer : weights_->layers) {
    result.layers.emplace_back();
    if (!layer.cross) continue;
    result.layers.back() =
        Linear::trained(layer.cross->keys_values, layer.cross->keys_values_bias, options_.type)(x);
  }
  return result;
}

ImageKeysValues QFormerPass::project_image(const ImageFeatures& features, const Norm& norm) const {
  check_features(features, config_);
  ImageKeysValues result{{}, features.positions};
  // W (x * gamma + beta) + b = (W * gamma) x + (W beta + b): no gradient at the features is needed
  // for the norm's own.
  const at::Tensor normal =
      at::layer_norm(features.rows.to(at::kFloat), {config_.encoder_hidden_size}, {}, {}, norm.eps);
  const at::Tensor x = feature_rows(normal, options_.type);  // [sum of P_i, De]
  for (const LayerWeights& layer : weights_->layers) {
    result.layers.emplace_back();
    if (!layer.cross) continue;
    const at::Tensor &weight = layer.cross->keys_values, &bias = layer.cross->keys_values_bias;
    result.layers.back() =
        Linear::trained(weight * norm.weight, at::addmv(bias, weight, norm.bias), options_.type)(x);
  }
  return result;
}

at::Tensor QFormerPass::embed(const at::Tensor& query_tokens, bool queries, const TextRows* text,
                              std::uint64_t purpose) const {
  std::vector<at::Tensor> parts;
  if (queries) parts.push_back(query_tokens[0].to(at::kFloat));
  if (text) {
    parts.push_back(gather_rows(weights_->words, text->ids) +
                    gather_rows(weights_->positions, positions_of(*text)));
  }
  at::Tensor x = weights_->embedding_norm(parts.size() == 1 ? parts[0] : at::cat(parts));
  const double dropout = options_.training ? config_.hidden_dropout_prob : 0;
  x = embedding_dropout(x, dropout, derive_seed(options_.seed, purpose, kEmbedding));
  return x.to(options_.type);  // [Q+N, D]
}

QFormerPass::Result QFormerPass::run(const std::vector<PassRow>& rows,
                                     const at::Tensor& query_tokens, const ImageKeysValues* images,
                                     const TextRows* text, const QueryStates* prefix,
                                     std::uint64_t purpose,
                                     const LanguageKeysValues* language) const {
  if (images) check_queries(query_tokens, config_);
  if (text) check_text(*text, config_);
  const std::int64_t queries =
      images ? query_tokens.size(1) : (prefix ? prefix->hidden.size(1) : 0);
  const PackedRows packed = pack_rows(
      rows, {.layers = config_.num_hidden_layers,
             .cross_attention_frequency = config_.cross_attention_frequency,
             .queries = queries,
             .positions = images ? images->positions : std::vector<std::int64_t>{},
             .text_lengths = text ? text->lengths : std::vector<std::int64_t>{},
             .language_lengths = language ? language->lengths : std::vector<std::int64_t>{}});
  Result result;
  at::Tensor x = embed(query_tokens, packed.has_queries, text, purpose);
  for (std::int64_t l = 0; l < config_.num_hidden_layers; ++l) {
    const LayerRun layer{config_, weights_->layers[l], packed.layers[l], options_.training,
                         derive_seed(options_.seed, purpose, kSelf, l)};
    const at::Tensor qkv = layer.weights.qkv(x);  // [M, 3D]
    result.keys.push_back(qkv);
    x = layer(x, qkv, prefix ? prefix->keys[l] : at::Tensor(), cross_keys(l, images, language));
  }
  if (packed.has_queries) {
    result.queries = select_rows(x, rows_of_blocks(packed.query_blocks, queries))
                         .view({-1, queries, config_.hidden_size});
  }
  if (!packed.text_rows.empty()) result.text = select_rows(x, packed.text_rows);
  return result;
}

QueryStates QFormerPass::encode_queries(const at::Tensor& query_tokens,
                                        const ImageKeysValues& images,
                                        const LanguageKeysValues* language) const {
  language = states_to_read(language, images.images());
  auto rows = picture_rows(images.images());
  for (PassRow& row : rows) row.language = language ? row.image : -1;
  Result result = run(rows, query_tokens, &images, nullptr, nullptr, kApart, language);
  return {result.queries, std::move(result.keys)};
}

at::Tensor QFormerPass::encode_text(const TextRows& text) const {
  return run(text_rows(text, PassRow::Text::all), {}, nullptr, &text, nullptr, kApart).text;
}

at::Tensor QFormerPass::encode_first_tokens(const TextRows& text) const {
  return run(text_rows(text, PassRow::Text::first), {}, nullptr, &text, nullptr, kApart).text;
}

QFormerPass::UnimodalStates QFormerPass::encode_unimodal(const at::Tensor& query_tokens,
                                                         const ImageKeysValues& images,
                                                         const TextRows& text) const {
  auto rows = picture_rows(images.images());
  const auto texts = text_rows(text, PassRow::Text::first);
  rows.insert(rows.end(), texts.begin(), texts.end());
  Result result = run(rows, query_tokens, &images, &text, nullptr, kApart);
  const std::int64_t queries = query_tokens.size(1);
  for (std::size_t l = 0; l < result.keys.size(); ++l) {
    result.keys[l] = result.keys[l].narrow(0, 0, (l == 0 ? 1 : images.images()) * queries);
  }
  return {{result.queries, std::move(result.keys)}, result.text};
}

JointStates QFormerPass::encode_multimodal(const at::Tensor& query_tokens,
                                           const ImageKeysValues& images, const TextRows& text,
                                           const Pairs& pairs, bool with_text,
                                           const LanguageKeysValues* language) const {
  language = states_to_read(language, text.texts());
  auto rows = pair_rows(pairs, images.images(), text.texts(), with_text);
  for (PassRow& row : rows) row.language = language ? row.text : -1;
  const Result result = run(rows, query_tokens, &images, &text, nullptr, kJoint, language);
  return {result.queries, result.text, {}};
}

at::Tensor QFormerPass::generate_text(const TextRows& text,
                                      const std::vector<std::int64_t>& pictures,
                                      const QueryStates& queries) const {
  std::vector<PassRow> rows;
  add_generated(rows, text, pictures, 0, queries);
  return run(rows, {}, nullptr, &text, &queries, kJoint).text;
}

JointStates QFormerPass::encode_joint(const at::Tensor& query_tokens, const ImageKeysValues& images,
                                      const TextRows& text, const Pairs& pairs,
                                      const TextRows& generated,
                                      const std::vector<std::int64_t>& pictures,
                                      const QueryStates& queries) const {
  auto rows = pair_rows(pairs, images.images(), text.texts(), false);
  add_generated(rows, generated, pictures, text.texts(), queries);
  const TextRows all = join_text(text, generated);
  const Result result = run(rows, query_tokens, &images, &all, &queries, kJoint);
  return {result.queries, {}, result.text};
}

}  // namespace blip2
