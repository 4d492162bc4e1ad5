#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "blip2/objectives/itg.h"
#include "blip2/qformer/pass.h"

namespace blip2 {

// Masked region modelling: some of a picture's P positions are hidden from cross-attention, queries
// and caption see each other, and a query must tell which of the picture's own features stands at
// a hidden position.
//
// Who answers for what: query q of Q answers for the positions p with floor(p Q / P) = q, a stretch
// of the picture in the order of the features. What is compared: the query's last hidden state with
// each position's value in the last cross-attention layer (W_v feature + b, what a query would have
// read there; the transposed image projection as output, as in UNITER, arXiv 1909.11740), so the
// objective has no weights of its own and its candidates cost nothing. Logits are the cosines
// divided by kRegionTemperature, the classes all P positions; chance is ln P nats.
inline constexpr double kRegionTemperature = 0.07;

// The same number of hidden positions H in each of B pictures.
struct HiddenRegions {
  at::Tensor hidden;   // [B,H] int64 positions
  at::Tensor queries;  // [B,H] int64: who answers for them
  at::Tensor visible;  // [B*(P-H)] int64: rows of the keys and values that may be seen
};

// H = share * P, rounded, at least one and fewer than P, drawn at random but spread over the
// queries as evenly as can be: for H <= Q none answers for two. A function of the arguments,
// where the first picture has the place `first_picture` in a larger batch. Error
// if P < 2 or the share is outside (0, 1).
HiddenRegions hide_regions(std::int64_t pictures, std::int64_t positions, std::int64_t queries,
                           double share, std::uint64_t seed, std::int64_t first_picture = 0);

// The keys and values of the visible positions alone: [B*(P-H), 2D] a layer.
ImageKeysValues visible_part(const ImageKeysValues& images, const HiddenRegions& regions);

// Mean cross-entropy over the hidden positions. Query states [B,Q,D] of a pass over visible_part,
// `images` with all positions. Gradients reach the queries and the values.
TokenLoss region_loss(const at::Tensor& queries, const ImageKeysValues& images,
                      const HiddenRegions& regions);

}  // namespace blip2
