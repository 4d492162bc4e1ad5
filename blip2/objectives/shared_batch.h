#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "blip2/nn/ranks.h"
#include "blip2/objectives/itm.h"
#include "blip2/qformer/pass.h"

namespace blip2 {

// What matching reads: the own pictures and texts, behind them those of other processes that are
// negatives of own ones, and the negatives as places among these.
struct MatchingRows {
  ImageKeysValues images;
  TextRows text;
  Negatives negatives;
};

// From the own pictures (features [b, P, De], their keys and values) and texts, and their negatives
// as places in the whole batch, where the own rows begin at rank * b. `project`: features -> keys
// and values.
MatchingRows fetch_negatives(const Ranks& ranks, const at::Tensor& features,
                             const ImageKeysValues& images, const TextRows& text,
                             const Negatives& negatives,
                             const std::function<ImageKeysValues(const at::Tensor&)>& project);

}  // namespace blip2
