#pragma once

#include <mutex>
#include <optional>
#include <vector>

#include "blip2/nn/linear.h"
#include "blip2/nn/norm.h"
#include "blip2/qformer/qformer.h"

namespace blip2 {

// LayerNorm(dense(x) + residual).
struct OutputWeights {
  Linear dense;
  Norm norm;
};

struct FeedForwardWeights {
  Linear up;
  OutputWeights down;
};

struct CrossWeights {
  Linear query;
  at::Tensor keys_values, keys_values_bias;  // f32 [2D,De], [2D]
  at::Tensor language, language_bias;        // f32 [2D,Dl], [2D]; undefined: it is not read
  OutputWeights output;
};

struct LayerWeights {
  Linear qkv;  // [3D,D]
  OutputWeights output;
  std::optional<CrossWeights> cross;
  std::optional<FeedForwardWeights> text;
  FeedForwardWeights queries;
};

// A Q-Former's weights in compute type, with gradients to its parameters.
struct PassWeights {
  PassWeights(const QFormer& model, at::ScalarType type);

  std::vector<LayerWeights> layers;
  Norm embedding_norm;
  at::Tensor words, positions;  // undefined in a Q-Former without text
  // The words in compute type, without a gradient: a large table that only generating text reads,
  // so it is made when it is first asked for.
  const at::Tensor& compute_words() const;

 private:
  at::ScalarType type_;
  mutable std::once_flag converted_;
  mutable at::Tensor compute_words_;
};

}  // namespace blip2
