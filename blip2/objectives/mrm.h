#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "blip2/objectives/itg.h"
#include "blip2/qformer/pass.h"

namespace blip2 {

// Masked region modelling: some of a picture's P positions are hidden from cross-attention, queries
// and caption see each other, and a query must predict which of the picture's features belongs to a
// hidden position.
//
// Query q of Q predicts the positions p with floor(p Q / P) = q, a stretch of the picture in the
// order of the features. The query's last hidden state is compared with each position's value in
// the last cross-attention layer (W_v feature + b, which the query would have read there; UNITER,
// arXiv 1909.11740, likewise takes the transposed image projection for its output). So the
// objective needs no weights other than the Q-Former's, and its candidates cost nothing. Logits are
// cosines divided by kRegionTemperature, classes are all P positions; chance is ln P nats.
inline constexpr double kRegionTemperature = 0.07;

// The hidden positions of B pictures, at most H of one. Where pictures have different numbers of
// positions, those of fewer hidden ones are filled up with kNotHidden.
inline constexpr std::int64_t kNotHidden = -1;
struct HiddenRegions {
  at::Tensor hidden;                 // [B,H] int64 positions
  at::Tensor queries;                // [B,H] int64: the query that predicts each
  at::Tensor visible;                // int64: rows of the visible keys and values
  std::vector<std::int64_t> counts;  // the visible positions of each picture

  std::int64_t targets() const { return (hidden != kNotHidden).sum().item<std::int64_t>(); }
};

// Draws H = share * P hidden positions (rounded, at least one and fewer than P) at random, spread
// over the queries as evenly as possible: for H <= Q no query predicts two. The result is a
// function of the arguments; `positions`: P of each picture; the first picture has the place
// `first_picture` in a larger batch. Error if a P < 2 or the share is outside (0, 1).
HiddenRegions hide_regions(const std::vector<std::int64_t>& positions, std::int64_t queries,
                           double share, std::uint64_t seed, std::int64_t first_picture = 0);

// The keys and values of the visible positions only.
ImageKeysValues visible_part(const ImageKeysValues& images, const HiddenRegions& regions);

// The mean cross-entropy over the hidden positions. `queries` [B,Q,D]: hidden states of a pass over
// visible_part; `images`: keys and values of all positions. Gradients reach the queries and the
// values.
TokenLoss region_loss(const at::Tensor& queries, const ImageKeysValues& images,
                      const HiddenRegions& regions);

}  // namespace blip2
