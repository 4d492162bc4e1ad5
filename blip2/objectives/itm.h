#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "blip2/qformer/pass.h"

namespace blip2 {

// A hard negative for each text and each picture; -1 where every pair matches.
struct Negatives {
  std::vector<std::int64_t> images;  // for each text
  std::vector<std::int64_t> texts;   // for each picture

  bool any() const;  // whether there is one at all
};

// Draws from softmax(similarity) over the pairs that do not match, both ways. Similarity [B,B] f32,
// rows are pictures; matches [B,B] bool. The draw is a function of the arguments.
Negatives draw_negatives(const at::Tensor& similarity, const at::Tensor& matches,
                         std::uint64_t seed);

// (picture, its text), (negative picture, text), (picture, negative text): the first pairs match,
// the others do not. Rows without a negative have none.
struct Triplets {
  Pairs pairs;
  at::Tensor labels;  // [R] int64, 1: they belong together
};
Triplets make_triplets(const Negatives& negatives);
// Those whose picture is among the `count` from `first` on: shares of a batch have all of its
// triplets once. Pictures are counted from `first`, texts in the whole batch.
Triplets make_triplets(const Negatives& negatives, std::int64_t first, std::int64_t count);

struct MatchingLoss {
  at::Tensor loss;    // []; zero if no row has a negative: there is nothing to tell apart
  at::Tensor logits;  // [R,2] f32
  double accuracy;
};

// `others_differ`: rows that do not match are elsewhere, so the own matching ones count.
MatchingLoss matching_loss(const at::Tensor& logits, const at::Tensor& labels,
                           bool others_differ = false);

}  // namespace blip2
