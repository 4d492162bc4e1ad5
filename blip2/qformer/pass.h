#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "blip2/nn/image_features.h"
#include "blip2/nn/norm.h"
#include "blip2/qformer/config.h"
#include "blip2/qformer/language_keys.h"
#include "blip2/qformer/text_rows.h"

namespace blip2 {

class QFormer;
struct PassRow;
struct PassWeights;

struct ComputeOptions {
  at::ScalarType type = at::kFloat;  // type of matrices and activations: f32 or bf16
  bool training = false;             // dropout as the configuration says
  std::uint64_t seed = 0;            // seed of dropout: derive_seed(run's seed, step)
};

// The keys and values of I pictures for each cross-attention layer, [sum of P_i, 2D] in compute
// type. They are computed once, and every pass over the pictures reads them. Each picture's queries
// see its own positions, however many it has.
struct ImageKeysValues {
  std::vector<at::Tensor> layers;
  std::vector<std::int64_t> positions;  // P_i of each picture

  std::int64_t images() const { return std::ssize(positions); }
};

// The states of the queries alone. `keys[l]` [I*Q, 3D] holds the queries, keys and values of layer
// l's self-attention; in layer 0, where they are the same for all pictures, [Q, 3D].
struct QueryStates {
  at::Tensor hidden;  // [I,Q,D]
  std::vector<at::Tensor> keys;
};

// The pairs of a joint pass: the picture and the text of each row.
struct Pairs {
  std::vector<std::int64_t> images, texts;
};

struct JointStates {
  at::Tensor queries;    // [R,Q,D] for each pair
  at::Tensor text;       // [sum of the pairs' lengths, D] packed; undefined if not wanted
  at::Tensor generated;  // [sum of the generated texts' lengths, D] packed; undefined if none
};

// The Q-Former's computation with the weights at the time when the pass was made (cast once).
// Gradients flow to the module's f32 parameters, the queries and the inputs. Hidden states have the
// compute type. Rows that are still equal within a pass (one text in several pairs before it has
// seen their pictures) are computed once; they share their dropout masks too. Const functions may
// run on several threads at once. I pictures, P positions, Q queries, D width, R pairs, N tokens of
// all texts.
class QFormerPass {
 public:
  QFormerPass(const QFormer& model, const ComputeOptions& options);

  const ComputeOptions& options() const { return options_; }
  // A pass with the same weights and another dropout seed, for a second pass over the same batch.
  QFormerPass reseeded(std::uint64_t purpose) const;

  // Features -> keys and values; call it once a step. With `norm` (ln_vision,
  // post_layernorm) the features go through that LayerNorm first, whose gradient costs little as it
  // is folded into the projections.
  ImageKeysValues project_image(const ImageFeatures& features) const;
  ImageKeysValues project_image(const ImageFeatures& features, const Norm& norm) const;
  // A language model's states of texts likewise; Error if the Q-Former does not read them.
  LanguageKeysValues project_language(const LanguageStates& states, const Norm& norm) const;

  // Queries [1,Q,D] alone read each picture (contrast, image side; stage 2 without text) and, with
  // `language`, the states of one text a picture.
  QueryStates encode_queries(const at::Tensor& query_tokens, const ImageKeysValues& images,
                             const LanguageKeysValues* language = nullptr) const;

  // Text alone with bidirectional attention (contrast, text side): hidden states of all tokens,
  // packed [N,D], or of the first tokens, [texts,D].
  at::Tensor encode_text(const TextRows& text) const;
  at::Tensor encode_first_tokens(const TextRows& text) const;

  // Queries alone and text alone (the two sides of contrast) in one set of matrix products; neither
  // sees the other.
  struct UnimodalStates {
    QueryStates queries;
    at::Tensor first_tokens;  // [texts,D]
  };
  UnimodalStates encode_unimodal(const at::Tensor& query_tokens, const ImageKeysValues& images,
                                 const TextRows& text) const;

  // Queries and text see each other (matching; stage 2 with an instruction), for each pair. With
  // `language`, the queries also read the language model's states of the pair's text.
  JointStates encode_multimodal(const at::Tensor& query_tokens, const ImageKeysValues& images,
                                const TextRows& text, const Pairs& pairs, bool with_text = false,
                                const LanguageKeysValues* language = nullptr) const;

  // Text with causal attention that also sees queries of encode_queries, of picture pictures[t] for
  // text t: packed [N,D].
  at::Tensor generate_text(const TextRows& text, const std::vector<std::int64_t>& pictures,
                           const QueryStates& queries) const;

  // encode_multimodal and generate_text in one set of matrix products.
  JointStates encode_joint(const at::Tensor& query_tokens, const ImageKeysValues& images,
                           const TextRows& text, const Pairs& pairs, const TextRows& generated,
                           const std::vector<std::int64_t>& pictures,
                           const QueryStates& queries) const;

  // The word embeddings [V,D]: the f32 parameter, and its copy in compute type.
  const at::Tensor& words() const;
  const at::Tensor& compute_words() const;

 private:
  struct Result;
  Result run(const std::vector<PassRow>& rows, const at::Tensor& query_tokens,
             const ImageKeysValues* images, const TextRows* text, const QueryStates* prefix,
             std::uint64_t purpose, const LanguageKeysValues* language = nullptr) const;
  at::Tensor embed(const at::Tensor& query_tokens, bool queries, const TextRows* text,
                   std::uint64_t purpose) const;

  QFormerConfig config_;
  ComputeOptions options_;
  std::shared_ptr<const PassWeights> weights_;
};

}  // namespace blip2
